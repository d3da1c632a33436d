"""What clients send and get: OpenAI's chat completions, embeddings, files and models, as far as they are served.

Where a field of a request would change the answer and is not served, or is not known at all, the request is refused.
Messages and their parts may carry more, for clients send back what they got.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from hilight_jax.core.errors import nearest

Text = Annotated[str, Field(max_length=100_000)]
Phrase = Annotated[str, Field(max_length=10_000)]
StopString = Annotated[str, Field(min_length=1, max_length=200)]

# What OpenAI's own server knows and this does not, and the values with which it asks for nothing.
_NOT_SERVED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
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
    "dimensions": (),
}
# What says something about the request, and nothing about the answer.
_REMARKS = (
    "user",
    "metadata",
    "store",
    "service_tier",
    "parallel_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
)
# Marks of the forms that a field may have, which are no part of its place.
FORMS = ("in words", "in parts", "a part")


class _Strict(BaseModel):
    """A request: a field that nothing here reads is refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_would_be_passed_over(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        kept = {}
        for name, value in fields.items():
            if name in cls.model_fields:
                kept[name] = value
            elif name in _NOT_SERVED:
                if value is not None and value not in _NOT_SERVED[name]:
                    raise ValueError(f"'{name}' is not served here; leave it out")
            elif name not in _REMARKS:
                raise ValueError(f"'{_whole(name[:60])}' is no field of this request.{nearest(name, cls.model_fields)}")
        return kept


class _Loose(BaseModel):
    """A part of a request: clients send back what they got, with fields that say nothing."""

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


def _known_part(part: Any) -> Any:
    """A part as it is meant: OpenAI's ``file`` with an id is a video, and so is an address by itself."""
    if not isinstance(part, dict) or "type" not in part:
        return part
    kind = part["type"]
    if kind == "file" and isinstance(part.get("file"), dict) and isinstance(part["file"].get("file_id"), str):
        return {"type": "video_url", "video_url": {"url": part["file"]["file_id"]}}
    if kind == "video_url" and isinstance(part.get("video_url"), str):
        return {"type": "video_url", "video_url": {"url": part["video_url"]}}
    if kind not in ("text", "video_url"):
        raise ValueError(
            f"a part of the type '{_whole(str(kind)[:60])}' is not served here; send 'text' and 'video_url'"
        )
    return part


def _form(given: Any) -> str:
    """Which of the forms something has."""
    return FORMS[1 if isinstance(given, (list, tuple)) else 2 if isinstance(given, (dict, BaseModel)) else 0]


Part = Annotated[TextPart | VideoPart, Field(discriminator="type"), BeforeValidator(_known_part)]
Content = Annotated[
    Annotated[Text, Tag(FORMS[0])] | Annotated[list[Part], Field(min_length=1, max_length=64), Tag(FORMS[1])],
    Discriminator(lambda given: FORMS[_form(given) == FORMS[1]]),
]
Stop = Annotated[
    Annotated[StopString, Tag(FORMS[0])] | Annotated[list[StopString], Field(max_length=8), Tag(FORMS[1])],
    Discriminator(lambda given: FORMS[_form(given) == FORMS[1]]),
]
Item = Annotated[
    Annotated[Phrase, Tag(FORMS[0])] | Annotated[Part, Tag(FORMS[2])],
    Discriminator(lambda given: FORMS[2] if _form(given) == FORMS[2] else FORMS[0]),
]
Input = Annotated[
    Annotated[Item, Tag(FORMS[0])] | Annotated[list[Item], Field(min_length=1, max_length=64), Tag(FORMS[1])],
    Discriminator(lambda given: FORMS[_form(given) == FORMS[1]]),
]


class Message(_Loose):
    """A turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class StreamOptions(_Loose):
    """What the stream ends with."""

    include_usage: bool = False


class ChatRequest(_Strict):
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
    stop: Stop | None = None
    ignore_eos: bool = False


class EmbeddingsRequest(_Strict):
    """``POST /v1/embeddings``: texts, or videos as the parts of a message or as ids of files."""

    model: str = ""
    input: Input
    encoding_format: Literal["float", "base64"] = "float"


class EvidenceRequest(ChatRequest):
    """``POST /v1/evidence``: a conversation, and what the model answered."""

    answer: Annotated[str, Field(min_length=1, max_length=100_000)]


class MomentsRequest(_Strict):
    """``POST /v1/moments``: a phrase, and the video to find it in."""

    video: VideoUrl
    text: Annotated[str, Field(min_length=1, max_length=2000)]


class Usage(BaseModel):
    """Tokens that were counted; rows of videos are tokens of the prompt."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


def place(steps: Sequence[int | str]) -> str:
    """Where in a request something is wrong, as ``messages.0.content.1.text``; nothing for the whole."""
    named = [str(step) for step in steps if step not in ("body", *FORMS)]
    return ".".join(step for step, before in zip(named, ["", *named], strict=False) if step != before or step.isdigit())


def usage(prompt_tokens: int, completion_tokens: int = 0) -> dict[str, int]:
    """The counts of an answer."""
    total = prompt_tokens + completion_tokens
    return Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, total_tokens=total).model_dump()


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """What a failed request gets, in OpenAI's form."""
    named = None if param is None else _whole(param)
    return {"error": {"message": _whole(message), "type": kind, "param": named, "code": code}}


def _whole(text: str) -> str:
    """A text that can be sent: halves of characters, which a request may repeat to us, are marked."""
    return text.encode(errors="replace").decode()
