"""Writes a world's clips as a TFDS dataset of ArrayRecord shards, without TensorFlow.

A dataset appears under `<data_dir>/<world>/<version>/` in one rename when it is complete. Until then it lies in a
hidden folder beside it, each finished shard renamed into place there, and the next run of the same build goes on from
them. The bytes of the shards do not depend on the number of workers, nor on interruptions.
"""

import contextlib
import dataclasses
import fcntl
import itertools
import json
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core import dataset_info

from hilight_jax.billiards.production import Workshop
from hilight_jax.billiards.worlds import SPLITS, World
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import Progress

METADATA = "world.json"
_PLAN = "plan.json"
_FEATURES = tfds.features.FeaturesDict(
    {"video": tfds.features.Scalar(np.object_), "labels": tfds.features.Scalar(np.object_)}
)


def dataset_dir(data_dir: str | pathlib.Path, world: World) -> pathlib.Path:
    """Where a world's dataset lies."""
    return pathlib.Path(data_dir) / world.name / world.version


def read_metadata(directory: str | pathlib.Path) -> dict | None:
    """The content of a complete dataset's `world.json`, or None when there is no complete dataset."""
    path = pathlib.Path(directory) / METADATA
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


@dataclasses.dataclass(frozen=True)
class Built:
    """What `build` did.

    Attributes:
      directory: where the dataset is, readable with `tfds.builder_from_directory(...).as_data_source(split)`.
      sizes: clips of each split.
      clips_made: clips that were made now; 0 when the dataset was complete already.
      seconds: the time that took.
    """

    directory: pathlib.Path
    sizes: dict[str, int]
    clips_made: int
    seconds: float


def build(
    world: World,
    data_dir: str | pathlib.Path,
    sizes: Mapping[str, int] | None = None,
    workers: int = 1,
    clips_per_shard: int = 256,
) -> Built:
    """Builds a dataset unless it is there already; shows progress on stderr.

    Args:
      world: which world.
      data_dir: the folder of all datasets.
      sizes: clips of some splits in place of the world's own sizes; a split of size 0 is left out.
      workers: processes that make clips; 1 makes them in this process.
      clips_per_shard: clips of one ArrayRecord file.

    Raises:
      DataError: if another process is building it, or something else is in its place.
    """
    sizes = split_sizes(world, sizes)
    final = dataset_dir(data_dir, world)
    plan = {"sizes": sizes, "clips_per_shard": clips_per_shard, "world": json.loads(json.dumps(to_dict(world)))}
    with _locked(final.parent / f".{final.name}.lock"):
        if _is_built(world, final, sizes):
            return Built(final, sizes, 0, 0.0)
        partial = final.parent / f".{final.name}.incomplete"
        _start_or_resume(partial, plan)
        splits = [_plan_split(world, split, size, partial, clips_per_shard) for split, size in sizes.items()]
        kept = sum(sum(split.lengths[: split.num_kept]) for split in splits)
        progress = Progress(sum(sizes.values()), f"generating {world.name}", "clips", kept)
        began = time.monotonic()
        with Workshop(workers) as workshop:
            for split in splits:
                _write_split(world, split, workshop, progress)
        progress.close()
        seconds = time.monotonic() - began
        _write_info(world, splits, partial)
        summary = {"name": world.name, "version": world.version, "seed": world.seed, **plan}
        (partial / METADATA).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        (partial / _PLAN).unlink()
        partial.rename(final)
    return Built(final, sizes, sum(sizes.values()) - kept, seconds)


def is_built(world: World, data_dir: str | pathlib.Path, sizes: Mapping[str, int] | None = None) -> bool:
    """Whether the dataset is there, complete.

    Raises:
      DataError: if something else is in its place: other sizes, an older definition of the world, no dataset at all.
    """
    return _is_built(world, dataset_dir(data_dir, world), split_sizes(world, sizes))


def _is_built(world: World, final: pathlib.Path, sizes: dict[str, int]) -> bool:
    if not final.exists():
        return False
    found = read_metadata(final)
    if found is None:
        raise DataError(f"{final} exists but is not a complete dataset; delete that folder and start again.")
    if found["sizes"] != sizes:
        raise DataError(
            f"{final} holds {_listed(found['sizes'])}, not {_listed(sizes)}; delete it or give another --data_dir."
        )
    if found["world"] != json.loads(json.dumps(to_dict(world))):
        raise DataError(f"{final} was made by another definition of '{world.name}'; delete it and start again.")
    return True


def split_sizes(world: World, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """The world's sizes with some of them replaced, in the order of `SPLITS`, empty splits left out.

    Raises:
      DataError: on an unknown split or a negative size.
    """
    asked = dict(world.sizes) | dict(sizes or {})
    for split, size in asked.items():
        if split not in SPLITS or size < 0:
            raise DataError(f"split '{split}={size}' cannot be built; give {', '.join(SPLITS)} a size of 0 or more.")
    return {split: asked[split] for split in SPLITS if asked.get(split)}


@dataclasses.dataclass(frozen=True)
class _Split:
    """A split and its files.

    Attributes:
      name: such as 'train'.
      lengths: clips of each shard.
      template: how TFDS names the shards.
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
        size = sum(path.stat().st_size for path in self.paths)
        return tfds.core.SplitInfo(self.name, self.lengths, num_bytes=size, filename_template=self.template)


def _plan_split(world: World, name: str, size: int, directory: pathlib.Path, clips_per_shard: int) -> _Split:
    lengths = [min(clips_per_shard, size - first) for first in range(0, size, clips_per_shard)]
    template = tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(directory), dataset_name=_tfds_name(world), split=name, filetype_suffix="array_record"
    )
    paths = [pathlib.Path(path) for path in template.sharded_filepaths(len(lengths))]
    # What a held-out clip may tell depends on all clips before it, so those splits, being small, are made in one go.
    kept = list(itertools.takewhile(pathlib.Path.is_file, paths)) if name == "train" else []
    return _Split(name, lengths, template, paths, len(kept))


def _write_split(world: World, split: _Split, workshop: Workshop, progress: Progress) -> None:
    """Writes the shards of a split that are not there yet."""
    clips = workshop.clips(world, split.name, range(sum(split.lengths[: split.num_kept]), sum(split.lengths)))
    for path, length in list(zip(split.paths, split.lengths, strict=True))[split.num_kept :]:
        unfinished = path.with_name(f"{path.name}.unfinished")
        writer = ArrayRecordWriter(str(unfinished), "group_size:1")
        for clip in itertools.islice(clips, length):
            example = _FEATURES.encode_example({"video": clip.video, "labels": clip.labels})
            writer.write(_FEATURES.serialize_example(example))
            progress.update(1)
        writer.close()
        unfinished.rename(path)


def _write_info(world: World, splits: list[_Split], directory: pathlib.Path) -> None:
    """Writes the metadata by which TFDS knows the dataset: `dataset_info.json` and `features.json`."""
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


def _listed(sizes: Mapping[str, int]) -> str:
    return " + ".join(f"{size} {split}" for split, size in sizes.items()) or "nothing"


def _tfds_name(world: World) -> str:
    return world.name.replace("-", "_")


def _start_or_resume(partial: pathlib.Path, plan: dict) -> None:
    """Keeps the finished shards of an interrupted build of the same plan; starts anew otherwise."""
    text = json.dumps(plan, sort_keys=True)
    if partial.exists() and not ((partial / _PLAN).is_file() and (partial / _PLAN).read_text(encoding="utf-8") == text):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    for path in partial.glob("*.unfinished"):
        path.unlink()
    (partial / _PLAN).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """Holds a file lock, which ends with the process however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"another process is building {path.parent}; wait for it or stop it.") from error
        yield
