"""Reads annotation files of videos with texts: a user's own manifest, and those of the retrieval benchmarks.

A manifest is JSON lines, one video a line::

    {"video": "clips/a.mp4", "text": "the red 3-ball drops", "spans": [{"start": 0, "end": 14, "object": "ball:3"}]}
    {"video": "clips/b.mp4", "texts": ["a break", {"text": "the rack bursts", "spans": []}], "caption": "a rack"}

``video`` is relative to the manifest. ``text`` or ``texts`` is required; ``spans`` marks what is visible in ``text``;
``caption`` (a string or an object with ``text`` and ``spans``) describes one frame, number ``frame`` or the middle one;
``id`` is optional. Other keys are ignored, unless they look like a misspelling of one of these.

CLIP-ViP's jsonl and MSR-VTT's json and csv name videos by an id; ``videos`` is the directory with the files (default:
the annotation file's own).
"""

import csv
import difflib
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hilight_jax.core.errors import DataError, nearest
from hilight_jax.data.records import Caption, FrameCaption, Record, caption_from_json, spans_from_json

VIDEO_SUFFIXES = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".ts")
_KEYS = ("id", "video", "text", "texts", "spans", "caption", "frame")


class RecordList:
    """A source of records read from an annotation file."""

    def __init__(self, name: str, records: list[Record]):
        """Keeps ``records``; an id that occurs again is given a number."""
        if not records:
            raise DataError(f"{name} lists no videos.")
        self.name = name
        self._records = number_repeats(records)

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


def number_repeats(entries: Iterable[Any]) -> list[Any]:
    """Makes the ids of named tuples unique: the second ``a`` becomes ``a#2``."""
    counts: dict[str, int] = {}
    unique = []
    for entry in entries:
        counts[entry.id] = number = counts.get(entry.id, 0) + 1
        unique.append(entry if number == 1 else entry._replace(id=f"{entry.id}#{number}"))
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


def open_clip_vip(path: str, videos: str = "", paragraph: str = "") -> RecordList:
    """Reads CLIP-ViP's retrieval annotations: ``{"clip_id": "video7", "text": "..." or ["...", ...]}`` per line.

    A ``.json`` file holds a list of the same objects. ``paragraph=1`` joins the texts of a video into one, as CLIP-ViP
    does for DiDeMo.
    """
    directory = pathlib.Path(videos or pathlib.Path(path).parent)
    records = []
    for where, entry in _lines(path):
        clip_id = required(entry, "clip_id", str, where)
        texts = entry["text"] if isinstance(entry.get("text"), list) else [required(entry, "text", str, where)]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{where}: 'text' must be a string or a list of strings, not {texts!r:.60}.")
        texts = [" ".join(texts)] if paragraph == "1" else texts
        records.append(Record(clip_id, video_path(directory, clip_id), tuple(map(Caption, texts))))
    return RecordList(f"clip_vip:{path}", records)


def open_msrvtt(path: str, videos: str = "", split: str = "", captions: str = "") -> RecordList:
    """Reads MSR-VTT: the full ``.json``, or the ``.csv`` lists of the 1k-A split.

    ``MSRVTT_data.json`` has ``videos`` and ``sentences``; ``split`` keeps only its videos of ``train``, ``validate`` or
    ``test``. A csv has ``video_id`` and, in the test list, ``sentence``; for one without sentences (the 9k training
    list) ``captions`` is the json that holds them.
    """
    directory = pathlib.Path(videos or pathlib.Path(path).parent)
    if path.endswith(".csv"):
        texts = _csv_texts(path, captions)
    else:
        texts = _json_texts(path, split)
    records = [Record(name, video_path(directory, name), tuple(map(Caption, t))) for name, t in texts.items()]
    return RecordList(f"msrvtt:{path}", records)


def read_json(path: str) -> Any:
    """Reads a JSON file; a mistake in it is a ``DataError`` that names file and line."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg}).") from error


def video_path(directory: pathlib.Path, video_id: str) -> str:
    """Returns the file of a video id: as named, or with the first usual suffix that exists (``.mp4`` if none does)."""
    name = video_id if video_id.endswith(VIDEO_SUFFIXES) else None
    candidates = [name] if name else [video_id + suffix for suffix in VIDEO_SUFFIXES]
    for candidate in candidates:
        for path in (directory / candidate, directory / pathlib.PurePath(candidate).name):
            if os.path.isfile(path):  # Unlike pathlib's, False also for a name that the system refuses.
                return str(path)
    return str(directory / candidates[0])


def _lines(path: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if path.endswith(".jsonl"):
        return read_json_lines(path)
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: expected a list of objects with 'clip_id' and 'text'.")
    return [(f"{path}, entry {number}", entry) for number, entry in enumerate(entries, 1)]


def _json_texts(path: str, split: str) -> dict[str, list[str]]:
    data = read_json(path)
    if not isinstance(data, dict) or not {"videos", "sentences"} <= set(data):
        raise DataError(f"{path} is not MSR-VTT's json: it needs the lists 'videos' and 'sentences'.")
    kept, splits = {}, set()
    for where, video in _objects(data["videos"], f"{path}, video"):
        video_id = required(video, "video_id", str, where)
        splits.add(str(video.get("split", "")))
        if not split or video.get("split") == split:
            kept[video_id] = []
    if not kept:
        raise DataError(f"{path} has no videos of split '{split}'; its splits are {', '.join(sorted(splits))}.")
    for where, sentence in _objects(data["sentences"], f"{path}, sentence"):
        video_id = required(sentence, "video_id", str, where)
        if video_id in kept:
            kept[video_id].append(required(sentence, "caption", str, where))
    return {video_id: texts for video_id, texts in kept.items() if texts}


def _objects(entries: Any, what: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields ``("FILE, video N", object)`` for every entry of a list of the json."""
    if not isinstance(entries, list):
        raise DataError(f"{what}s must be a list of objects, not {entries!r:.60}.")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise DataError(f"{what} {number} must be an object, not {entry!r:.60}.")
        yield f"{what} {number}", entry


def _csv_texts(path: str, captions: str) -> dict[str, list[str]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not csv ({error}).") from error
    columns = set(reader.fieldnames or ())
    if "video_id" not in columns:
        raise DataError(f"{path} is not one of MSR-VTT's csv lists: its first line must name the column 'video_id'.")
    if "sentence" not in columns and not captions:
        raise DataError(
            f"{path} has no column 'sentence'; name the json with the sentences: "
            f"msrvtt:{path},captions=MSRVTT_data.json."
        )
    known = {} if "sentence" in columns else _json_texts(captions, "")
    texts: dict[str, list[str]] = {}
    for where, row in rows:
        video_id = required(row, "video_id", str, where)
        if known and video_id not in known:
            raise DataError(f"{where}: {captions} has no sentences for video '{video_id}'.")
        texts.setdefault(video_id, []).extend(known[video_id] if known else [row["sentence"] or ""])
    return texts
