"""Checks that the files of a checkpoint are complete: by a list of sizes written with every step, and by their layout.

A machine that goes down can leave files cut short, and a copy can stop half-way; neither shows in the name of the
directory. Sizes are compared without reading the files, at every start and for every reader.
"""

import itertools
import json
import logging
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from hilight_jax.core.errors import CheckpointError

BROKEN = "broken_checkpoints"
SIZES = "sizes.json"
# Files that orbax writes after the list.
_LATE = ("_CHECKPOINT_METADATA", "commit_success.txt", SIZES)

_LOG = logging.getLogger(__name__)


def steps_in(directory: Path) -> list[int]:
    """The steps under ``directory``, in order; those still being written have other names."""
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal() and path.is_dir())


def write_sizes(step_directory: Path) -> None:
    """Adds the list of all files and their sizes to a step, once all of them are written."""
    files = (path for path in sorted(step_directory.rglob("*")) if path.is_file())
    sizes = {str(path.relative_to(step_directory)): path.stat().st_size for path in files}
    sizes = {name: size for name, size in sizes.items() if name not in _LATE}
    (step_directory / SIZES).write_text(json.dumps(sizes, indent=0) + "\n")


def damage(step_directory: Path) -> str:
    """Describes the damage to the files of a step; empty where there is none."""
    try:
        commit = json.loads((step_directory / "_CHECKPOINT_METADATA").read_text())
        if not commit["commit_timestamp_nsecs"]:
            return "it was never finished"
        for name in commit["item_handlers"]:
            if complaint := _item_damage(step_directory / name):
                return complaint
        if (step_directory / SIZES).exists():
            return _size_damage(step_directory, json.loads((step_directory / SIZES).read_text()))
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(step_directory)} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "its JSON files cannot be read"
    return ""


def find_damage(directory: Path) -> dict[int, str]:
    """The damaged steps and the damage to each, which is logged.

    Raises:
      CheckpointError: No other step is left.
    """
    steps = steps_in(directory)
    damaged = {step: why for step in steps if (why := damage(directory / str(step)))}
    if damaged and len(damaged) == len(steps):
        raise nothing_whole(directory, damaged)
    for step, why in damaged.items():
        _LOG.warning("step %d in %s is damaged (%s) and is passed over", step, directory, why)
    return damaged


def clear_damage(directory: Path) -> None:
    """Makes ``directory`` and moves its damaged steps away, on the first process; the others wait for it.

    Raises:
      CheckpointError: No other step is left.
    """
    failure = None
    if jax.process_index() == 0:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for step, why in find_damage(directory).items():
                move_aside(directory, step, why)
        except (CheckpointError, OSError) as error:
            failure = error
    if jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(np.int32(failure is not None)):
        failure = failure or CheckpointError(f"no step in {directory} is whole; process 0 logged the reason.")
    if failure is not None:
        raise failure


def move_aside(directory: Path, step: int, why: str) -> None:
    """Moves a step to ``broken_checkpoints`` beside ``directory``, under a name that is free."""
    room = directory.with_name(BROKEN)
    room.mkdir(exist_ok=True)
    names = itertools.chain([str(step)], (f"{step}-{again}" for again in itertools.count(2)))
    place = next(room / name for name in names if not (room / name).exists())
    (directory / str(step)).rename(place)
    _LOG.warning("step %d was moved to %s (%s)", step, place, why)


def nothing_whole(directory: Path, damaged: Mapping[int, str]) -> CheckpointError:
    """The error for a run of which no checkpoint is left."""
    what = "; ".join(f"step {step}: {why}" for step, why in sorted(damaged.items(), reverse=True))
    return CheckpointError(
        f"no checkpoint in {directory} can be read ({what.rstrip('.')}). Restore one from a copy; or, to begin anew, "
        f"move the directory away or choose another workdir."
    )


class WithoutSteps(ocp.step.NameFormat):
    """Orbax's plain names without some steps, since orbax reads the metrics of every step that it finds."""

    def __init__(self, hidden: Container[int]):
        self._hidden, self._plain = hidden, ocp.step.standard_name_format()

    def build_name(self, step: int) -> str:
        """The name of a step's directory."""
        return self._plain.build_name(step)

    def find_all(self, base_path: Any) -> Iterator[Any]:
        """All steps but the hidden ones."""
        return (found for found in self._plain.find_all(base_path) if found.step not in self._hidden)

    def find_step(self, base_path: Any, step: int) -> Any:
        """One step, hidden or not."""
        return self._plain.find_step(base_path, step)


def _item_damage(item: Path) -> str:
    """The damage to an item, a directory with a JSON file that describes it."""
    if not item.is_dir():
        return f"{item.name} is missing"
    described = [item / name for name in ("_METADATA", "metadata", "metrics") if (item / name).is_file()]
    if not described:
        return f"{item.name} is empty"
    try:
        json.loads(described[0].read_text())
    except ValueError:
        return f"{item.name}/{described[0].name} is not JSON"
    return ""


def _size_damage(step_directory: Path, sizes: dict[str, int]) -> str:
    for name, size in sizes.items():
        there = (step_directory / name).stat().st_size
        if there != size:
            return f"{name} has {there} of {size} bytes"
    return ""
