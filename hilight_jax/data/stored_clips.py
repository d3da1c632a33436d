"""Stored clips: a TFDS dataset directory of ArrayRecord files with encoded videos, read without TensorFlow.

Each example holds two byte strings: ``video``, a video file with exactly the clip's frames, and ``labels``, JSON with
its id, captions and spans, frame caption, objects and questions (written by ``hilight_jax.billiards``).
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow_datasets as tfds

from hilight_jax.core.errors import DataError, nearest
from hilight_jax.data.records import FrameCaption, Record, caption_from_json


class StoredSource:
    """One split of a dataset directory, by ``DIRECTORY/SPLIT``; can be sent to worker processes."""

    def __init__(self, path: str):
        """Opens the split.

        Args:
          path: The directory that holds ``dataset_info.json``, a slash, and the split's name.

        Raises:
          DataError: There is no such dataset or split, or its examples have other features.
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

    def __len__(self) -> int:
        return len(self._examples)

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
