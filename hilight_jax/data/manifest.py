"""A user's own videos: a JSON-lines manifest, one video a line.

    {"video": "clips/a.mp4", "text": "the red 3-ball drops", "spans": [{"start": 0, "end": 14, "object": "ball:3"}]}
    {"video": "clips/b.mp4", "texts": ["a break", {"text": "the rack bursts", "spans": []}], "caption": "a rack"}

``video`` is relative to the manifest. ``text`` or ``texts`` is required; ``spans`` marks what is visible in ``text``;
``caption`` (a string or an object with ``text`` and ``spans``) describes one frame, number ``frame`` or the middle one;
``id`` is optional. Other keys are ignored, unless they look like a misspelling of one of these.
"""

import difflib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hilight_jax.core.errors import DataError, nearest
from hilight_jax.data.records import Caption, FrameCaption, Record, caption_from_json, spans_from_json

_KEYS = ("id", "video", "text", "texts", "spans", "caption", "frame")


class RecordList:
    """A source of records read from an annotation file."""

    def __init__(self, name: str, records: list[Record]):
        """Keeps ``records``; an id that occurs again is given a number."""
        if not records:
            raise DataError(f"{name} lists no videos.")
        self.name = name
        ids = number_repeats([record.id for record in records])
        self._records = [record._replace(id=record_id) for record, record_id in zip(records, ids, strict=True)]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]


def open_manifest(path: str) -> RecordList:
    """Reads a manifest; every mistake in it is a ``DataError`` that names file and line."""
    directory = pathlib.Path(path).parent
    return RecordList(f"manifest:{path}", [_record(entry, directory, where) for where, entry in read_json_lines(path)])


def read_json_lines(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields ``("FILE, line N", object)`` for every line that is not blank."""
    for number, line in enumerate(read_text(path).split("\n"), 1):  # Strings may hold U+2028 and its like.
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON ({error.msg} at column {error.colno}): {line:.60}") from error
        if not isinstance(entry, dict):
            raise DataError(f"{where}: a line must be a JSON object, not {line:.60}")
        yield where, entry


def read_text(path: str) -> str:
    """Reads an annotation file."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error


def required(entry: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """Returns ``entry[key]``; raises a ``DataError`` if it is missing or of another type."""
    if key not in entry:
        present = ", ".join(map(repr, entry)) or "nothing"
        raise DataError(f"{where}: the key '{key}' is missing; the line has {present}.{nearest(key, entry)}")
    if not isinstance(entry[key], kind):
        raise DataError(f"{where}: '{key}' must be of type {kind.__name__}, not {entry[key]!r:.60}.")
    return entry[key]


def refuse_misspelled(entry: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    """Raises a ``DataError`` about a key that looks like a misspelling of one of ``keys``; ignores other keys."""
    for key in set(entry) - set(keys):
        if close := difflib.get_close_matches(key, keys, n=1, cutoff=0.8):
            raise DataError(f"{where}: the key '{key}' is not known; did you mean '{close[0]}'?")


def number_repeats(ids: Sequence[str]) -> list[str]:
    """Makes ids unique: the second ``a`` becomes ``a#2``."""
    counts: dict[str, int] = {}
    unique = []
    for name in ids:
        counts[name] = number = counts.get(name, 0) + 1
        unique.append(name if number == 1 else f"{name}#{number}")
    return unique


def _record(entry: Mapping[str, Any], directory: pathlib.Path, where: str) -> Record:
    refuse_misspelled(entry, _KEYS, where)
    video = required(entry, "video", str, where)
    frame_caption = None
    if entry.get("caption") is not None:
        frame = entry.get("frame")
        if frame is not None and (not isinstance(frame, int) or frame < 0):
            raise DataError(f"{where}: 'frame' must be a frame number from 0 on, not {frame!r:.60}.")
        frame_caption = FrameCaption(caption_from_json(entry["caption"], where), frame)
    return Record(str(entry.get("id", video)), str(directory / video), _captions(entry, where), frame_caption)


def _captions(entry: Mapping[str, Any], where: str) -> tuple[Caption, ...]:
    if "texts" not in entry:
        text = required(entry, "text", str, where)
        return (Caption(text, spans_from_json(entry.get("spans"), text, where)),)
    if "text" in entry or "spans" in entry:
        raise DataError(
            f"{where}: with 'texts', leave out 'text' and 'spans'; "
            'give spans inside: {"texts": [{"text": ..., "spans": [...]}]}.'
        )
    texts = required(entry, "texts", list, where)
    if not texts:
        raise DataError(f"{where}: 'texts' is empty; a video needs at least one text.")
    return tuple(caption_from_json(text, where) for text in texts)
