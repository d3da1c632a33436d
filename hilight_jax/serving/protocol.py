"""OpenAI's protocol: requests for chat completions and embeddings, their validation, and the forms of responses.

A request is refused if it has an unknown field, or an unsupported one with a value that would change the answer.
Messages and their parts may have unknown fields, because clients send back the messages that they received.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from hilight_jax.core.errors import DataError, UserError, nearest
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Turn
from hilight_jax.generation.video_clip import Zoom
from hilight_jax.generation.zoom import parse_zoom
from hilight_jax.serving.log_probs import MAX_ALTERNATIVES

Text = Annotated[str, Field(max_length=100_000)]
Phrase = Annotated[str, Field(max_length=10_000)]
PhraseOfThing = Annotated[str, Field(min_length=1, max_length=200)]
StopString = Annotated[str, Field(min_length=1, max_length=200)]

# Frames and things of one request for places; more is asked for in several.
MAX_FRAMES, MAX_PHRASES = 64, 16
# Types of errors.
INVALID_REQUEST, SERVER_ERROR = "invalid_request_error", "server_error"
# Unsupported fields of OpenAI's server, and their values that change nothing.
_NOT_SERVED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
    "dimensions": (),
}
# Fields that never change an answer.
_IGNORED = (
    "user",
    "metadata",
    "store",
    "service_tier",
    "parallel_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
)
# Tags of the forms that a field may have; they are no part of its path.
FORMS = ("in words", "in parts", "a part")


class _Strict(BaseModel):
    """A request; an unknown field is refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _check_fields(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        kept = {}
        for name, value in fields.items():
            if name in cls.model_fields:
                kept[name] = value
            elif name in _NOT_SERVED:
                if value is not None and value not in _NOT_SERVED[name]:
                    raise ValueError(f"'{name}' is not served here; leave it out")
            elif name not in _IGNORED:
                raise ValueError(
                    f"'{_sendable(name[:60])}' is no field of this request.{nearest(name, cls.model_fields)}"
                )
        return kept


class _Loose(BaseModel):
    """A part of a request; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


class VideoUrl(_Loose):
    """The address of a video: a file's id, a ``data:`` URL, or ``http(s)`` on an allowed host."""

    url: str = Field(min_length=1)


class TextPart(_Loose):
    """Text of a message."""

    type: Literal["text"]
    text: Text


class VideoPart(_Loose):
    """A video of a user's message."""

    type: Literal["video_url"]
    video_url: VideoUrl


def _known_part(part: Any) -> Any:
    """Normalises a part: OpenAI's ``file`` with an id becomes a video, and so does a bare address."""
    if not isinstance(part, dict) or "type" not in part:
        return part
    kind = part["type"]
    if kind == "file" and isinstance(part.get("file"), dict) and isinstance(part["file"].get("file_id"), str):
        return {"type": "video_url", "video_url": {"url": part["file"]["file_id"]}}
    if kind == "video_url" and isinstance(part.get("video_url"), str):
        return {"type": "video_url", "video_url": {"url": part["video_url"]}}
    if kind not in ("text", "video_url"):
        raise ValueError(
            f"a part of the type '{_sendable(str(kind)[:60])}' is not served here; send 'text' and 'video_url'"
        )
    return part


_IN_PARTS = Discriminator(lambda given: FORMS[1 if isinstance(given, (list, tuple)) else 0])
Part = Annotated[TextPart | VideoPart, Field(discriminator="type"), BeforeValidator(_known_part)]
Content = Annotated[
    Annotated[Text, Tag(FORMS[0])] | Annotated[list[Part], Field(min_length=1, max_length=64), Tag(FORMS[1])],
    _IN_PARTS,
]
Stop = Annotated[
    Annotated[StopString, Tag(FORMS[0])] | Annotated[list[StopString], Field(max_length=8), Tag(FORMS[1])],
    _IN_PARTS,
]
Item = Annotated[
    Annotated[Phrase, Tag(FORMS[0])] | Annotated[Part, Tag(FORMS[2])],
    Discriminator(lambda given: FORMS[2 if isinstance(given, (dict, BaseModel)) else 0]),
]
Input = Annotated[
    Annotated[Item, Tag(FORMS[0])] | Annotated[list[Item], Field(min_length=1, max_length=64), Tag(FORMS[1])],
    _IN_PARTS,
]

FrameNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]
Frames = Annotated[
    Annotated[int, Field(ge=1, le=MAX_FRAMES), Tag(FORMS[0])]
    | Annotated[list[FrameNumber], Field(min_length=1, max_length=MAX_FRAMES), Tag(FORMS[1])],
    _IN_PARTS,
]


# Tiles of a picture grow with the square of the zoom; ``mosaic.MOST_TILES`` limits those of a narrow one.
LARGEST_ZOOM = 8


def _read_zoom(given: Any) -> Zoom:
    """Reads a zoom as ``parse_zoom`` does, up to the server's largest."""
    try:
        zoom = parse_zoom(given, "zoom")
    except UserError as error:
        raise ValueError(str(error)) from error
    numbers = [] if isinstance(zoom, str) else zoom if isinstance(zoom, tuple) else [zoom]
    if len(numbers) > LARGEST_ZOOM or any(number > LARGEST_ZOOM for number in numbers):
        raise ValueError(f"a zoom is at most {LARGEST_ZOOM} on this server, and as many may be tried")
    return zoom


ZoomOption = Annotated[Any, BeforeValidator(_read_zoom)]


class Message(_Loose):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class StreamOptions(_Loose):
    """Options of a streamed answer."""

    include_usage: bool = False


class ChatRequest(_Strict):
    """``POST /v1/chat/completions``; extensions are ``top_k`` and ``ignore_eos``, named as in vLLM, and ``zoom``.

    With a zoom, words and things are looked for in the videos' own pictures. Of a film as many ``shots`` are shown.
    """

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
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)] | None = None
    ignore_eos: bool = False
    zoom: ZoomOption = "off"
    shots: Annotated[int, Field(ge=1, le=8)] = 1

    @model_validator(mode="after")
    def _check_log_probs(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError(f"'top_logprobs' is {self.top_logprobs}, but needs 'logprobs': true; set both")
        return self


class EmbeddingsRequest(_Strict):
    """``POST /v1/embeddings``: texts, or videos as the parts of a message or as ids of files."""

    model: str = ""
    input: Input
    encoding_format: Literal["float", "base64"] = "float"


class EvidenceRequest(ChatRequest):
    """``POST /v1/evidence``: a conversation and the model's answer."""

    answer: Annotated[str, Field(min_length=1, max_length=100_000)]


class MomentsRequest(_Strict):
    """``POST /v1/moments``: a phrase, and the video to find it in.

    ``words`` looks for the things that it names; with ``shots`` the answer has the shots of the film too.
    """

    video: VideoUrl
    text: Annotated[str, Field(min_length=1, max_length=2000)]
    words: bool | None = None
    shots: bool = False


class SearchRequest(_Strict):
    """``POST /v1/search``: a phrase, and the videos to order by it, by default all uploads.

    ``words`` looks for the things that it names, in the ``shortlist`` videos of the highest similarity. With
    ``archive`` the server's archive is searched instead, for its ``top`` pieces; a video is one to find the like of.
    """

    text: Annotated[str, Field(min_length=1, max_length=2000)]
    videos: Annotated[list[VideoUrl], Field(min_length=1, max_length=1000)] | None = None
    words: bool | None = None
    shortlist: Annotated[int, Field(ge=1, le=1000)] = 100
    archive: bool = False
    top: Annotated[int, Field(ge=1, le=100)] = 10

    @model_validator(mode="after")
    def _check_archive(self) -> "SearchRequest":
        if self.archive and self.videos is not None and len(self.videos) > 1:
            raise ValueError(f"a search of the archive takes one video to find the like of, not {len(self.videos)}")
        if self.archive and self.words:
            raise ValueError("'words' cannot be looked for in the archive, which keeps no patches; leave it out")
        return self


class LocateRequest(_Strict):
    """``POST /v1/locate``: things, or a text that names some, and the video to find them in.

    ``frames`` are their number, spread evenly over the video, or their numbers; by default those that the model sees.
    """

    video: VideoUrl
    phrases: Annotated[list[PhraseOfThing], Field(min_length=1, max_length=MAX_PHRASES)] | None = None
    text: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    frames: Frames | None = None
    zoom: ZoomOption = "off"

    @model_validator(mode="after")
    def _check_things(self) -> "LocateRequest":
        if (self.phrases is None) == (self.text is None):
            given = "neither 'phrases' nor 'text' is" if self.text is None else "both 'phrases' and 'text' are"
            raise ValueError(f"{given} given; give one of them")
        return self


def turns_of(messages: Sequence[Message]) -> tuple[list[Turn], list[str]]:
    """Converts messages to the turns of a conversation and the addresses of its videos, in order.

    Gemma's template has no system turn, so a system message is put before the text of the next question, and behind
    that of the last one if no other follows. Consecutive messages of one role become one turn.

    Raises:
      DataError: A message that is not the user's shows a video.
    """
    turns: list[Turn] = []
    urls: list[str] = []
    system = ""
    for message in messages:
        text = ""
        for part in [message.content] if isinstance(message.content, str) else message.content:
            if isinstance(part, VideoPart):
                if message.role != "user":
                    raise DataError(f"a message of the {message.role} shows a video, but only the user's may.")
                urls.append(part.video_url.url)
                text += VIDEO_MARK
            else:
                text += (part if isinstance(part, str) else part.text).replace(VIDEO_MARK, "< video >")
        if message.role in ("system", "developer"):
            system += text.strip() + "\n"
        else:
            role = "model" if message.role == "assistant" else "user"
            if role == "user":
                text, system = system + text, ""
            if turns and turns[-1].role == role:
                text = f"{turns.pop().text}\n{text}"
            turns.append(Turn(role, text))
    if system.strip() and turns and turns[-1].role == "user":
        turns.append(Turn("user", f"{turns.pop().text}\n{system.strip()}"))
    return turns, urls


def last_question(messages: Sequence[Message]) -> str:
    """Returns the text of the last message of the user, without its videos."""
    content = next((message.content for message in reversed(messages) if message.role == "user"), "")
    parts = [content] if isinstance(content, str) else [part.text for part in content if isinstance(part, TextPart)]
    return " ".join(parts)


def field_path(steps: Sequence[int | str]) -> str:
    """Writes the path of a field, as ``messages.0.content.1.text``; empty for the whole body."""
    named = [str(step) for step in steps if step not in ("body", *FORMS)]
    return ".".join(step for step, before in zip(named, ["", *named], strict=False) if step != before or step.isdigit())


def usage(prompt_tokens: int, completion_tokens: int = 0) -> dict[str, int]:
    """Returns the token counts of a response; rows of videos are tokens of the prompt."""
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Returns the body of a failed request's response, in OpenAI's form."""
    named = None if param is None else _sendable(param)
    return {"error": {"message": _sendable(message), "type": kind, "param": named, "code": code}}


def _sendable(text: str) -> str:
    """Replaces lone surrogates, which a request may contain and a response may not."""
    return text.encode(errors="replace").decode()
