"""Records, the items of every source: a video with its captions and labels."""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from hilight_jax.core.errors import DataError
from hilight_jax.data.video import Video


class Span(NamedTuple):
    """A passage of a caption that names a visible thing.

    Attributes:
      start: First character.
      end: One past the last character.
      kind: The sort of thing (``ball``, ``pocket``, ...), empty when unknown.
      object: Name of the thing in the record's labels (``ball:3``), empty when it has none.
    """

    start: int
    end: int
    kind: str = ""
    object: str = ""


class Caption(NamedTuple):
    """A text about a video; ``spans`` is None where visible things are not marked."""

    text: str
    spans: tuple[Span, ...] | None = None


class FrameCaption(NamedTuple):
    """A text about one frame; ``frame`` None means the middle frame, as in CLIP-ViP's pretraining."""

    caption: Caption
    frame: int | None = None


class Record(NamedTuple):
    """One video with its texts.

    Attributes:
      id: Name that is unique in its source; quarantine lists use it.
      video: Bytes of a video file, or its path.
      captions: At least one caption.
      frame_caption: A caption of one frame, if there is one.
      labels: Everything else that the source holds (objects, questions), or None.
    """

    id: str
    video: Video
    captions: tuple[Caption, ...]
    frame_caption: FrameCaption | None = None
    labels: Mapping[str, Any] | None = None


class Source(Protocol):
    """Records by number. ``name`` is the specification that opens it again, for messages and reports."""

    name: str

    def __len__(self) -> int:
        """Returns the number of records."""
        ...

    def __getitem__(self, index: int) -> Record:
        """Returns record ``index``."""
        ...


def object_id(name: str) -> int:
    """Returns a stable positive int32 for an object's name; 0 stands for no object."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF or 1


def caption_from_json(entry: Any, where: str) -> Caption:
    """Builds a caption from a string or from ``{"text": ..., "spans": [{"start", "end", "kind", "object"}, ...]}``.

    Raises:
      DataError: The entry has another form, or a span lies outside its text; the message begins with ``where``.
    """
    if isinstance(entry, str):
        return Caption(entry)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("text"), str):
        raise DataError(f"{where}: a caption must be a string or an object with the string 'text', not {entry!r:.80}.")
    return Caption(entry["text"], spans_from_json(entry.get("spans"), entry["text"], where))


def spans_from_json(entries: Any, text: str, where: str) -> tuple[Span, ...] | None:
    """Builds the spans of ``text`` from their JSON list; None stays None."""
    if entries is None:
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise DataError(f"{where}: 'spans' must be a list of objects with 'start' and 'end', not {entries!r:.80}.")
    spans = []
    for entry in entries:
        start, end = entry.get("start"), entry.get("end")
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)):
            raise DataError(
                f"{where}: the span {dict(entry)!r:.80} needs whole numbers 0 <= start < end <= {len(text)}, "
                "the length of its text in characters."
            )
        spans.append(Span(start, end, str(entry.get("kind", "")), str(entry.get("object") or "")))
    return tuple(spans)
