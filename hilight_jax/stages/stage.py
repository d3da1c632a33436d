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
from hilight_jax.core import distributed
from hilight_jax.core.errors import DataError
from hilight_jax.data.sources import is_missing
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.trainer import Objective

_WORLD = 4 * 3600.0  # Seconds that other processes wait while the first one generates a world.

Batches = AbstractContextManager[Iterator[Mapping[str, np.ndarray]]]
Evaluate = Callable[[Mapping[str, Any], int], dict[str, float]]


class Stage(Protocol):
    """One stage of training, ready to be trained; its constructor takes ``(config, mesh, workdir)``."""

    objective: Objective
    given: Mapping[str, Any]  # Parameters that other runs made, by top-level name.

    def open_source(self) -> Sized:
        """Opens the training examples.

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


def training_specification(config: RunConfig) -> str:
    """The source of the training examples.

    Raises:
      DataError: The config names none.
    """
    specification = config.data.train
    if not specification:
        raise DataError(
            "config.data.train names no clips; give a source, e.g. --config.data.train=manifest:clips.jsonl (the "
            "README says how data becomes a manifest)."
        )
    return specification


def provide_world(config: RunConfig) -> None:
    """Generates the billiards world of the training clips if it is missing and the config says so.

    Process 0 looks and generates; the others wait.
    """

    def generate() -> None:
        directory = world_directory(config.data.train)
        world = get_world(directory.parent.name)
        say(f"{directory} is missing: generating the world {world.name}, once")
        build(world, directory.parent.parent, workers=os.cpu_count() or 1)

    first = jax.process_index() == 0
    distributed.together("generating the world", lambda: generate() if first and lacks_world(config) else None, _WORLD)


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
