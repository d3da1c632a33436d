"""Writes the shards of a dataset, ArrayRecord files, and the metadata that TFDS reads, without TensorFlow."""

import dataclasses
import itertools
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core import dataset_info

from hilight_jax.billiards.production import Workshop
from hilight_jax.billiards.worlds import World
from hilight_jax.core.progress import Progress

_FEATURES = tfds.features.FeaturesDict(
    {"video": tfds.features.Scalar(np.object_), "labels": tfds.features.Scalar(np.object_)}
)


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
