"""What the command ``train`` asks of every stage, and what several stages do alike."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from hilight_jax.billiards.dataset import build
from hilight_jax.billiards.worlds import get_world
from hilight_jax.core.errors import DataError
from hilight_jax.data.sources import is_missing
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.trainer import Objective

Batches = AbstractContextManager[Iterator[Mapping[str, np.ndarray]]]
Evaluate = Callable[[Mapping[str, Any], int], dict[str, float]]


class Stage(Protocol):
    """One stage of training, ready to be trained; its constructor takes ``(config, mesh, workdir)``."""

    objective: Objective
    given: Mapping[str, Any]  # Parameters that other runs made, by top-level name.

    def open_source(self) -> Sized:
        """Opens the training examples, generated first if the config says so.

        Raises:
          DataError: The config names none, or those it names are missing.
        """
        ...

    def prepare(self, workdir: Path) -> None:
        """Writes what the run keeps beside its checkpoints, before the first step and at every resumption."""
        ...

    def batches(self, start_step: int) -> Batches:
        """This host's slices of the global batches, from ``start_step`` on."""
        ...

    def evaluate(self, params: Mapping[str, Any], step: int) -> dict[str, float]:
        """Figures on the validation examples; none when the config names none."""
        ...

    def name_of(self, index: int) -> str:
        """The name of a training example, for messages."""
        ...


def hosts() -> dict[str, int]:
    """This host and their number, as a pipeline wants them."""
    return {"host_index": jax.process_index(), "host_count": jax.process_count()}


def training_specification(config: RunConfig) -> str:
    """The source of the training examples, its billiards world generated if that is missing and the config says so.

    Raises:
      DataError: The config names no source.
    """
    specification = config.data.train
    if not specification:
        raise DataError(
            "config.data.train names no clips; give a source, e.g. --config.data.train=manifest:clips.jsonl (the "
            "README says how data becomes a manifest)."
        )
    if lacks_world(config):
        directory = world_directory(specification)
        world = get_world(directory.parent.name)
        say(f"{directory} is missing: generating the world {world.name}, once")
        build(world, directory.parent.parent, workers=os.cpu_count() or 1)
    return specification


def lacks_world(config: RunConfig) -> bool:
    """Whether the training clips are a stored world that is missing and that the config lets be generated."""
    kind, _, path = config.data.train.partition(":")
    return config.generate_missing and kind in ("tfds", "questions") and is_missing(f"tfds:{path.partition(',')[0]}")


def world_directory(specification: str) -> Path:
    """The dataset directory of ``tfds:DIRECTORY/SPLIT`` or ``questions:DIRECTORY/SPLIT,...``."""
    return Path(specification.partition(":")[2].partition(",")[0]).parent


def say(line: str) -> None:
    """Tells the user one thing, on stderr."""
    if jax.process_index() == 0:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
