"""Writes a world's clips as a TFDS dataset of ArrayRecord shards, without TensorFlow.

A dataset appears under `<data_dir>/<world>/<version>/` in one rename when it is complete. Until then it lies in a
hidden folder beside it, each finished shard renamed into place there, and the next run of the same build continues
from them. The bytes of the shards do not depend on the number of workers, nor on interruptions. Shards made by another
state of the generator's source (`generator_digest`) are not kept.

No two clips of a held-out split have the same facts (the balls listed and the events told), so a caption there fits one
clip only. Balls and events are few, so the same facts, and sometimes the same words, do recur in other splits, and
within train. A shot, its camera and its pictures never recur: every clip of every split has its own random seed.
Cameras and cloths of 'unseen' occur in no other split.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping

from hilight_jax.billiards import shards
from hilight_jax.billiards.language.commentary import Style
from hilight_jax.billiards.worlds import SPLITS, World
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import Progress

METADATA = "world.json"
_PLAN = "plan.json"


def dataset_dir(data_dir: str | pathlib.Path, world: World) -> pathlib.Path:
    """Returns the directory of a world's dataset."""
    return pathlib.Path(data_dir) / world.name / world.version


def read_metadata(directory: str | pathlib.Path) -> dict | None:
    """Returns the content of a complete dataset's `world.json`, or None if there is no complete dataset."""
    path = pathlib.Path(directory) / METADATA
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


@dataclasses.dataclass(frozen=True)
class Built:
    """The result of `build`.

    Attributes:
      directory: the dataset, readable with `tfds.builder_from_directory(...).as_data_source(split)`.
      sizes: clips of each split.
      clips_made: clips that were made now; 0 if the dataset was complete already.
      seconds: the time of making them.
      is_current: True if the generator's source has not changed since the dataset was built.
    """

    directory: pathlib.Path
    sizes: dict[str, int]
    clips_made: int
    seconds: float
    is_current: bool = True


def build(
    world: World,
    data_dir: str | pathlib.Path,
    sizes: Mapping[str, int] | None = None,
    workers: int = 1,
    clips_per_shard: int = 256,
    wait: bool = False,
) -> Built:
    """Builds a dataset unless it is there already; shows progress on stderr.

    Args:
      world: the world.
      data_dir: the folder of all datasets.
      sizes: clips of some splits in place of the world's own sizes; a split of size 0 is left out.
      workers: processes that make clips; 1 makes them in this process.
      clips_per_shard: clips of one ArrayRecord file.
      wait: wait for another process that is building it.

    Raises:
      DataError: if another process is building it and it does not wait, if something else is in its place, or if it
        cannot be written.
    """
    sizes = split_sizes(world, sizes)
    final = dataset_dir(data_dir, world)
    plan = {
        "sizes": sizes,
        "clips_per_shard": clips_per_shard,
        "generator": generator_digest(),
        "world": _as_json(world),
    }
    with _failures_as_sentences(final), _locked(final.parent / f".{final.name}.lock", wait):
        if _is_built(world, final, sizes):
            return Built(final, sizes, 0, 0.0, read_metadata(final).get("generator") == generator_digest())
        partial = final.parent / f".{final.name}.incomplete"
        _start_or_resume(partial, plan)
        splits = [shards.plan_split(world, split, size, partial, clips_per_shard) for split, size in sizes.items()]
        kept = sum(sum(split.lengths[: split.num_kept]) for split in splits)
        progress = Progress(sum(sizes.values()), f"generating {world.name}", "clips", kept)
        began = time.monotonic()
        with shards.Workshop(workers) as workshop:
            for split in splits:
                shards.write_split(world, split, workshop, progress)
        progress.close()
        seconds = time.monotonic() - began
        shards.write_info(world, splits, partial)
        summary = {"name": world.name, "version": world.version, "seed": world.seed, **plan}
        (partial / METADATA).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        (partial / _PLAN).unlink()
        partial.rename(final)
    return Built(final, sizes, sum(sizes.values()) - kept, seconds)


@functools.cache
def generator_digest() -> str:
    """SHA-256 over the source files of this room and its folders, in the order of their names."""
    digest, root = hashlib.sha256(), pathlib.Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _is_built(world: World, final: pathlib.Path, sizes: dict[str, int]) -> bool:
    """Returns True if the dataset is complete; raises if something else is in its place."""
    if not final.exists():
        return False
    found = read_metadata(final)
    if found is None:
        raise DataError(f"{final} exists but is not a complete dataset; delete that folder and start again.")
    if found["sizes"] != sizes:
        raise DataError(
            f"{final} holds {_listed(found['sizes'])}, not {_listed(sizes)}; delete it or give another --data_dir."
        )
    if not _defines(found["world"], world):
        raise DataError(f"{final} was made by another definition of '{world.name}'; delete it and start again.")
    return True


def split_sizes(world: World, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """Returns the world's sizes with some of them replaced, in the order of `SPLITS`, without empty splits.

    Raises:
      DataError: on an unknown split or a negative size.
    """
    asked = dict(world.sizes) | dict(sizes or {})
    for split, size in asked.items():
        if split not in SPLITS or size < 0:
            raise DataError(f"split '{split}={size}' cannot be built; give {', '.join(SPLITS)} a size of 0 or more.")
    return {split: asked[split] for split in SPLITS if asked.get(split)}


def _as_json(settings: object) -> object:
    """Returns settings as their JSON in `world.json`."""
    return json.loads(json.dumps(to_dict(settings)))


def _defines(found: dict, settings: World | Style) -> bool:
    """Returns True if stored settings are these; a setting newer than the dataset counts as its default."""
    values = {field.name: (getattr(settings, field.name), field.default) for field in dataclasses.fields(settings)}
    if not set(found) <= set(values):
        return False
    for name, (value, default) in values.items():
        if name not in found:
            same = value == default
        else:
            same = _defines(found[name], value) if dataclasses.is_dataclass(value) else found[name] == _as_json(value)
        if not same:
            return False
    return True


def _listed(sizes: Mapping[str, int]) -> str:
    return " + ".join(f"{size} {split}" for split, size in sizes.items()) or "nothing"


def _start_or_resume(partial: pathlib.Path, plan: dict) -> None:
    """Keeps the finished shards of an interrupted build of the same plan, or deletes those of another plan."""
    text = json.dumps(plan, sort_keys=True)
    if partial.exists() and not ((partial / _PLAN).is_file() and (partial / _PLAN).read_text(encoding="utf-8") == text):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    for path in partial.glob("*.unfinished"):
        path.unlink()
    (partial / _PLAN).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _failures_as_sentences(place: pathlib.Path) -> Iterator[None]:
    """Turns errors of the file system into sentences."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"writing to {error.filename or place} failed: {error.strerror or error}. Make room or give another "
            "--data_dir, then start the same command again; finished shards are kept."
        ) from error


@contextlib.contextmanager
def _locked(path: pathlib.Path, wait: bool) -> Iterator[None]:
    """Holds a file lock, which the system releases when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise DataError(f"another process is building {path.parent}; wait for it or stop it.") from error
        yield
