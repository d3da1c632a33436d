"""Makes the clips of a dataset, in order, and writes them as ArrayRecord shards that TFDS reads, without TensorFlow.

Several processes make clips; the result does not depend on their number. In held-out splits no two clips may have the
same facts: in order, a clip whose facts occurred in an earlier one is made again with its attempt counted up, until its
facts are new.
"""

import dataclasses
import functools
import itertools
import json
import multiprocessing
import pathlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core import dataset_info

from hilight_jax.billiards.clips import Clip, make_clip
from hilight_jax.billiards.encoding import encode_video
from hilight_jax.billiards.worlds import World
from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import Progress

_CHUNK = 4  # Clips that a worker makes at a time.
_MOST_ATTEMPTS = 1000
_FEATURES = tfds.features.FeaturesDict(
    {"video": tfds.features.Scalar(np.object_), "labels": tfds.features.Scalar(np.object_)}
)


class Record(NamedTuple):
    """A clip as it is stored.

    Attributes:
      video: an encoded video of exactly the clip's frames.
      labels: its labels as JSON text, UTF-8.
      facts: as in `Clip.facts`.
    """

    video: bytes
    labels: bytes
    facts: str


def encode_clip(clip: Clip) -> Record:
    """Encodes a clip for storage."""
    times = clip.labels["times"]
    fps = max((len(times) - 1) / times[-1], 0.1) if times[-1] else 1.0
    labels = json.dumps(clip.labels, separators=(",", ":")).encode("utf-8")
    return Record(encode_video(clip.frames, fps, quantizer=clip.quantizer), labels, clip.facts)


class Workshop:
    """Worker processes that make clips. Use as a context; leaving it ends the processes."""

    def __init__(self, workers: int):
        """Prepares ``workers`` processes; 1 works in this process.

        They are spawned, not forked: a process that runs JAX has threads, whose locks a fork would copy locked.
        """
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, mp_context=spawn) if workers > 1 else None

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def clips(self, world: World, split: str, numbers: range) -> Iterator[Record]:
        """Makes the clips of these numbers; those of a held-out split must begin at 0.

        Raises:
          DataError: if a held-out split is too large for distinct facts, or a worker was killed.
        """
        records = self._records(functools.partial(_make, world, split), numbers)
        if split == "train":
            return records
        return _telling_new_things(world, split, zip(numbers, records, strict=True))

    def _records(self, make: Callable[[int], Record], numbers: range) -> Iterator[Record]:
        if self._pool is None:
            yield from map(make, numbers)
            return
        try:
            yield from self._pool.map(make, numbers, chunksize=_CHUNK)
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process was killed while it made clips, perhaps for want of memory; finished shards are "
                "kept: start the same command again, with fewer --workers."
            ) from error


def _make(world: World, split: str, number: int, attempt: int = 0) -> Record:
    return encode_clip(make_clip(world, split, number, attempt))


def _telling_new_things(world: World, split: str, records: Iterable[tuple[int, Record]]) -> Iterator[Record]:
    told = set()
    for number, record in records:
        attempt = 0
        while record.facts in told:
            attempt += 1
            if attempt == _MOST_ATTEMPTS:
                raise DataError(f"world '{world.name}' has nothing new to tell after {number} clips of '{split}'.")
            record = _make(world, split, number, attempt)
        told.add(record.facts)
        yield record


@dataclasses.dataclass(frozen=True)
class Split:
    """A split and its files.

    Attributes:
      name: such as 'train'.
      lengths: clips of each shard.
      template: TFDS's names of the shards.
      paths: of the shards.
      num_kept: shards, the first ones, that an interrupted build has finished.
    """

    name: str
    lengths: list[int]
    template: tfds.core.ShardedFileTemplate
    paths: list[pathlib.Path]
    num_kept: int

    @property
    def info(self) -> tfds.core.SplitInfo:
        """TFDS's description of the split; the shards must exist."""
        size = sum(path.stat().st_size for path in self.paths)
        return tfds.core.SplitInfo(self.name, self.lengths, num_bytes=size, filename_template=self.template)


def plan_split(world: World, name: str, size: int, directory: pathlib.Path, clips_per_shard: int) -> Split:
    """Divides a split into shards in ``directory`` and counts those that an interrupted build has finished."""
    lengths = [min(clips_per_shard, size - first) for first in range(0, size, clips_per_shard)]
    template = tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(directory), dataset_name=_tfds_name(world), split=name, filetype_suffix="array_record"
    )
    paths = [pathlib.Path(path) for path in template.sharded_filepaths(len(lengths))]
    # A held-out clip depends on the facts of all clips before it, so those splits, which are small, start from 0.
    kept = list(itertools.takewhile(pathlib.Path.is_file, paths)) if name == "train" else []
    return Split(name, lengths, template, paths, len(kept))


def write_split(world: World, split: Split, workshop: Workshop, progress: Progress) -> None:
    """Writes the missing shards of a split."""
    clips = workshop.clips(world, split.name, range(sum(split.lengths[: split.num_kept]), sum(split.lengths)))
    for path, length in list(zip(split.paths, split.lengths, strict=True))[split.num_kept :]:
        examples = []
        for clip in itertools.islice(clips, length):
            example = _FEATURES.encode_example({"video": clip.video, "labels": clip.labels})
            examples.append(_FEATURES.serialize_example(example))
            progress.update(1)
        unfinished = path.with_name(f"{path.name}.unfinished")
        _write_shard(unfinished, examples)
        unfinished.rename(path)


def _write_shard(path: pathlib.Path, examples: list[bytes]) -> None:
    try:
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for example in examples:
            writer.write(example)
        writer.close()
    except RuntimeError as error:  # ArrayRecord's error for a full disk and the like.
        raise OSError(str(error)) from error


def write_info(world: World, splits: list[Split], directory: pathlib.Path) -> None:
    """Writes the metadata that TFDS reads: `dataset_info.json` and `features.json`."""
    identity = dataset_info.DatasetIdentity(
        name=_tfds_name(world),
        version=tfds.core.Version(world.version),
        data_dir=str(directory),
        module_name="hilight_jax.billiards.dataset",
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"Billiards clips of the world '{world.name}' with captions, questions and ball positions.",
        features=_FEATURES,
        disable_shuffling=True,
    )
    info.set_file_format("array_record")
    info.set_splits(tfds.core.SplitDict([split.info for split in splits]))
    info.write_to_directory(directory)


def _tfds_name(world: World) -> str:
    return world.name.replace("-", "_")
