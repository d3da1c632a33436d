"""Opens any source of videos and texts by its specification, ``KIND:PATH[,OPTION=VALUE...]`` or only a path.

tfds:data/demo-v1/1.0.0/train                   clips stored by ``python -m hilight_jax.generate``
tfds:data/demo-v2/1.0.0/validation,first=256    the first 256 of them
manifest:clips.jsonl                            a user's own JSON-lines manifest
clip_vip:msrvtt/train.jsonl,videos=DIR          CLIP-ViP's retrieval annotations
msrvtt:MSRVTT_data.json,videos=DIR,split=test   MSR-VTT, json or csv

Stored clips are a TFDS dataset directory of ArrayRecord files, read without TensorFlow. Each example holds two byte
strings: ``video``, a video file with exactly the clip's frames, and ``labels``, JSON with its id, captions and spans,
frame caption, objects and questions (written by ``hilight_jax.billiards``).
"""

import inspect
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from hilight_jax.core.errors import DataError, nearest
from hilight_jax.data.annotation_files import open_clip_vip, open_manifest, open_msrvtt, read_json, read_text
from hilight_jax.data.records import FrameCaption, Record, Source, caption_from_json


class StoredSource:
    """One split of a dataset directory, or its first clips, by ``DIRECTORY/SPLIT``; can be sent to worker processes."""

    def __init__(self, path: str, first: str = ""):
        """Opens the split of the directory that holds ``dataset_info.json``.

        Raises:
          DataError: There is no such dataset or split, or its examples have other features, or the split has fewer
            clips than the ``first`` that are asked for.
        """
        directory, _, split = path.rstrip("/").rpartition("/")
        self.name = f"tfds:{path}"
        if not is_stored_dataset(directory):
            raise DataError(
                f"no stored dataset at '{directory}' (it would hold dataset_info.json and features.json); "
                "build one with 'python -m hilight_jax.generate', or correct the path in 'tfds:DIRECTORY/SPLIT'."
            )
        builder = tfds.builder_from_directory(directory)
        if split not in builder.info.splits:
            known = ", ".join(sorted(builder.info.splits)) or "none"
            raise DataError(
                f"'{directory}' has no split '{split}'; it has {known}.{nearest(split, builder.info.splits)}"
            )
        missing = {"video", "labels"} - set(builder.info.features)
        if missing:
            raise DataError(f"'{directory}' is no dataset of stored clips: its examples lack {sorted(missing)}.")
        self._examples = builder.as_data_source(split)  # pyright: ignore[reportCallIssue]
        self._length = len(self._examples)
        if first:
            if not first.isdecimal() or not 1 <= int(first) <= self._length:
                raise DataError(
                    f"'first={first}' of '{path}' must be a whole number from 1 to {self._length}, its clips."
                )
            self._length = int(first)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Record:
        example = self._examples[int(index)]
        labels = json.loads(_bytes(example["labels"]))
        return _record(_bytes(example["video"]), labels, f"{self.name}, record {index}")


def is_stored_dataset(directory: str) -> bool:
    """Returns True if a directory holds a TFDS dataset."""
    path = pathlib.Path(directory)
    return (path / "dataset_info.json").is_file() and (path / "features.json").is_file()


def _record(video: bytes, labels: Mapping[str, Any], where: str) -> Record:
    captions = tuple(caption_from_json(entry, where) for entry in labels["captions"])
    frame_caption = None
    if (entry := labels.get("frame_caption")) is not None:
        frame_caption = FrameCaption(caption_from_json(entry, where), entry["frame"])
    return Record(labels["id"], video, captions, frame_caption, labels)


def _bytes(value: Any) -> bytes:
    """Unwraps a byte string, which TFDS returns as such or in a zero-dimensional array."""
    return value if isinstance(value, bytes) else value.item()


KINDS: dict[str, Callable[..., Source]] = {
    "tfds": StoredSource,
    "manifest": open_manifest,
    "clip_vip": open_clip_vip,
    "msrvtt": open_msrvtt,
}


def open_source(specification: str) -> Source:
    """Opens a source; a path alone is recognised by its suffix and content.

    Raises:
      DataError: The kind or an option is unknown, the path is missing, or an annotation is wrong (file and line named).
    """
    return open_by_kind(specification, KINDS, _recognise)


def open_by_kind(specification: str, kinds: Mapping[str, Callable[..., Any]], recognise: Callable[[str], str]) -> Any:
    """Opens the source that ``KIND:PATH[,OPTION=VALUE...]`` names; the specification becomes its ``name``.

    ``kinds`` has for each kind the function that opens it, by path and options; ``recognise`` finds the kind of a path
    that stands alone.

    Raises:
      DataError: The kind or an option is unknown, or whatever the functions raise.
    """
    kind, path, options = _parse(specification, kinds)
    kind = kind or recognise(path)
    if kind not in kinds:
        raise DataError(
            f"'{kind}' in '{specification}' is no kind of source; kinds: {', '.join(kinds)}.{nearest(kind, kinds)}"
        )
    allowed = list(inspect.signature(kinds[kind]).parameters)[1:]
    for option in options:
        if option not in allowed:
            raise DataError(
                f"'{option}' in '{specification}' is no option of {kind}; options: {', '.join(allowed) or 'none'}."
                f"{nearest(option, allowed)}"
            )
    source = kinds[kind](path, **options)
    source.name = specification
    return source


def is_missing(specification: str) -> bool:
    """Returns True if the file or dataset directory that a specification names does not exist."""
    kind, path, _ = _parse(specification)
    if kind in ("tfds", "questions") or (not kind and not pathlib.Path(path).exists()):
        return not is_stored_dataset(path.rstrip("/").rpartition("/")[0])
    return not pathlib.Path(path).exists()


def same_file(specification: str, other: str) -> bool:
    """Returns True if two specifications read the same file or dataset split, whatever their options."""
    first, second = (pathlib.Path(_parse(each)[1]).resolve() for each in (specification, other))
    return first == second


def _parse(specification: str, kinds: Mapping[str, Any] = KINDS) -> tuple[str, str, dict[str, str]]:
    head, *options = specification.split(",")
    kind, colon, path = head.partition(":")
    if not colon:
        kind, path = "", head
    if not path:
        raise DataError(
            f"the source '{specification}' names no path; write KIND:PATH with KIND out of {', '.join(kinds)}."
        )
    for option in options:
        if "=" not in option:
            raise DataError(f"'{option}' in '{specification}' must have the form OPTION=VALUE.")
    return kind, path, dict(option.split("=", 1) for option in options)


def _recognise(path: str) -> str:
    """Finds the kind of a source from its path and the beginning of its content."""
    suffix = pathlib.Path(path).suffix
    if suffix == ".jsonl":
        first = next((line for line in read_text(path).split("\n") if line.strip()), "")
        return "clip_vip" if '"clip_id"' in first else "manifest"
    if suffix == ".csv":
        return "msrvtt"
    if suffix == ".json":
        return "msrvtt" if isinstance(read_json(path), dict) else "clip_vip"
    if is_stored_dataset(path.rstrip("/").rpartition("/")[0]):
        return "tfds"
    raise DataError(
        f"'{path}' is not recognised as a source: give a stored dataset's DIRECTORY/SPLIT, a .jsonl, .json or .csv "
        f"file, or write KIND:PATH with KIND out of {', '.join(KINDS)}."
    )
