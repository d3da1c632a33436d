"""The configuration that the runs of all stages share."""

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Literal, Self

from hilight_jax.checkpoints.store import KeepConfig
from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import MeshConfig
from hilight_jax.training.long_runs.profiling import profiled_steps
from hilight_jax.training.optimizer import OptimizerConfig

# Keys that may change when an interrupted run goes on: none of them changes what is computed, but for rounding.
FREE_KEYS = (
    "name",
    "preset",
    "mesh",
    "keep",
    "eval_batch_size",
    "log_every",
    "data_dir",
    "cache_gb",
    "model.compute.unroll",
    "model.compute.remat",  # And remat_keeps.
    "model.compute.attention",
    "loss_chunk",
    "loss.contrast_chunk",
    "loss.local.shard_patches",
    "data.num_workers",
    "data.num_threads",
    "data.read_ahead",
    "data.quarantine",
    "data.max_bad_fraction",
    "profile",
    "max_skipped_steps",
    "stall_seconds",
    "compare_gradients",
)


@dataclasses.dataclass(frozen=True)
class InitFrom:
    """Start from the parameters of another run of the same stage.

    Attributes:
      workdir: A working directory with checkpoints.
      which: Its ``best`` or its ``latest`` step.
      skip: Path patterns that keep their fresh values; every other name must be there with its shape.
    """

    workdir: str
    which: Literal["best", "latest"] = "best"
    skip: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A training run of any stage; each stage adds its ``stage``, ``model`` and ``data``.

    Attributes:
      name: Names the default working directory, ``runs/<name>-<preset>``.
      preset: The preset of the config file that this came from.
      steps: Optimiser steps.
      batch_size: Examples of one step over all devices and micro-batches.
      optimizer: The update rule.
      seed: Of parameters, order of the data and dropout.
      accumulate: Micro-batches of a step.
      freeze: Path patterns of parameters that are not trained.
      init_from: Another run to start from; None starts from fresh parameters.
      mesh: Devices along each axis.
      keep: Which checkpoints stay.
      log_every: Steps between two records of the training losses.
      eval_every: Steps between evaluations on the validation data; the last step is always evaluated.
      eval_batch_size: Examples of one evaluation batch.
      data_dir: Where generated worlds are kept; ``{data_dir}`` in a source of ``data`` stands for it.
      generate_missing: Generate the named billiards world when its data is missing (the demo), instead of an error.
      profile: Steps ``FIRST:LAST`` of which a trace is written; empty for none.
      max_skipped_steps: How many steps whose loss or gradient is not finite are skipped before the run gives up.
      stall_seconds: Age of the last step from which a stall is reported; 0 reports none.
    """

    name: str
    preset: str
    steps: int
    batch_size: int
    optimizer: OptimizerConfig
    seed: int = 0
    accumulate: int = 1
    freeze: tuple[str, ...] = ()
    init_from: InitFrom | None = None
    mesh: MeshConfig = MeshConfig()
    keep: KeepConfig = KeepConfig()
    log_every: int = 10
    eval_every: int = 1000
    eval_batch_size: int = 64
    data_dir: str = "data"
    generate_missing: bool = False
    profile: str = ""
    max_skipped_steps: int = 0
    stall_seconds: float = 300.0
    if TYPE_CHECKING:  # Fields of every stage, each of its own type.
        stage: Any
        model: Any
        data: Any
        loss: Any

    def __post_init__(self):
        """Checks the keys that every stage has."""
        counts = ("steps", "batch_size", "accumulate", "log_every", "eval_every", "eval_batch_size")
        check(self, "config.", lambda x: x >= 1, "at least 1", *counts)
        check(self, "config.", lambda x: 0 <= x < 2**32, "at least 0 and below 2**32", "seed")
        check(self, "config.", lambda x: x >= 0, "at least 0", "max_skipped_steps", "stall_seconds")
        profiled_steps(self.profile, self.steps)
        for pattern in (*self.freeze, *self.optimizer.no_decay, *self.optimizer.multipliers):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"'{pattern}' is not a regular expression of paths: {error}.") from error

    def with_sources(self) -> Self:
        """The same run with ``{data_dir}`` replaced in its sources, ready to open them."""
        sources = {name: getattr(self.data, name) for name in ("train", "validation", "unseen")}
        places = {name: value.replace("{data_dir}", self.data_dir) for name, value in sources.items()}
        return dataclasses.replace(self, data=dataclasses.replace(self.data, **places))
