"""What clients send and get: OpenAI's chat completions, embeddings, files and models, as far as they are served."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(max_length=100_000)]
StopString = Annotated[str, Field(min_length=1, max_length=200)]

# What OpenAI's own server knows and this does not, and the values with which it asks for nothing.
_NOT_SERVED: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
}


class _Loose(BaseModel):
    """Clients send fields that other servers know; those that nothing here reads are passed over."""

    model_config = ConfigDict(extra="ignore")


class VideoUrl(_Loose):
    """Where a video is: a file's id, a ``data:`` URL, or ``http(s)`` on an allowed host."""

    url: str = Field(min_length=1)


class TextPart(_Loose):
    """Words."""

    type: Literal["text"]
    text: Text


class VideoPart(_Loose):
    """A video that the user shows."""

    type: Literal["video_url"]
    video_url: VideoUrl


Part = Annotated[TextPart | VideoPart, Field(discriminator="type")]


class Message(_Loose):
    """A turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Field(min_length=1, max_length=64)]


class StreamOptions(_Loose):
    """What the stream ends with."""

    include_usage: bool = False


class ChatRequest(_Loose):
    """``POST /v1/chat/completions``; ``top_k`` and ``ignore_eos`` are vLLM's, no OpenAI's."""

    model: str = ""
    messages: Annotated[list[Message], Field(min_length=1, max_length=256)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=8)] | None = None
    ignore_eos: bool = False
    n: Annotated[int, Field(ge=1, le=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_would_be_passed_over(cls, fields: Any) -> Any:
        """A field that asks for another answer than this server gives is refused, not dropped."""
        for name, neutral in _NOT_SERVED.items() if isinstance(fields, dict) else ():
            if name in fields and fields[name] is not None and fields[name] not in neutral:
                raise ValueError(f"'{name}' is not served here; leave it out")
        return fields


class EmbeddingsRequest(_Loose):
    """``POST /v1/embeddings``: texts, or videos as the parts of a message."""

    model: str = ""
    input: Text | Annotated[list[Text | VideoPart], Field(min_length=1, max_length=64)]
    encoding_format: Literal["float", "base64"] = "float"


class EvidenceRequest(ChatRequest):
    """``POST /v1/evidence``: a conversation, and what the model answered."""

    answer: Annotated[str, Field(min_length=1, max_length=100_000)]


class MomentsRequest(_Loose):
    """``POST /v1/moments``: a phrase, and the video to find it in."""

    video: VideoUrl
    text: Annotated[str, Field(min_length=1, max_length=2000)]


class Usage(BaseModel):
    """Tokens that were counted; rows of videos are tokens of the prompt."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


def usage(prompt_tokens: int, completion_tokens: int = 0) -> dict[str, int]:
    """The counts of an answer."""
    total = prompt_tokens + completion_tokens
    return Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, total_tokens=total).model_dump()


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """What a failed request gets, in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
