"""Annotation files of the retrieval benchmarks: CLIP-ViP's jsonl and MSR-VTT's json and csv.

All of them name videos by an id; ``videos`` is the directory with the files (default: the annotation file's own).
"""

import csv
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hilight_jax.core.errors import DataError
from hilight_jax.data.manifest import RecordList, read_json_lines, read_text, required
from hilight_jax.data.records import Caption, Record

_SUFFIXES = (".mp4", ".avi", ".webm", ".mkv", ".mov")


def open_clip_vip(path: str, videos: str = "", paragraph: str = "") -> RecordList:
    """Reads CLIP-ViP's retrieval annotations: ``{"clip_id": "video7", "text": "..." or ["...", ...]}`` per line.

    Args:
      path: A ``.jsonl`` file, or a ``.json`` file with a list of the same objects.
      videos: Directory of the videos.
      paragraph: ``1`` joins the texts of a video into one, as CLIP-ViP does for DiDeMo.
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

    Args:
      path: ``MSRVTT_data.json`` (``videos`` and ``sentences``) or a csv with ``video_id`` and, for the test list,
        ``sentence``.
      videos: Directory of the videos.
      split: Keeps only videos of this split of the json (``train``, ``validate``, ``test``).
      captions: For a csv without sentences (the 9k training list): the json that holds them.
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
    name = video_id if video_id.endswith(_SUFFIXES) else None
    candidates = [name] if name else [video_id + suffix for suffix in _SUFFIXES]
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
