"""The programs of a run, compiled for a pod, and their model FLOPs: the train step, the towers of the chat stages."""

import dataclasses
import re
import time
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.frozen_towers import CLIPS_PER_DEVICE, device_groups, tower_program, tower_shapes
from hilight_jax.stages.table import STAGES
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program."""

    compiled: Any  # The compiler's result; its figures are of one chip.
    seconds: float  # Time of compiling, without tracing.


class DoesNotFit(Exception):
    """The compiler ran out of a chip's memory.

    Attributes:
      needed: Bytes that the program takes, or None where the message has no figure.
      remark: First line of the message.
    """

    def __init__(self, message: str):
        """Parses the compiler's message."""
        super().__init__(message)
        found = re.search(r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm", message) or re.search(
            r"\(([\d.]+)([KMGT]?)\) exceeds available HBM", message
        )
        self.needed = _bytes(found[1], found[2]) if found else None
        self.remark = message.partition("RESOURCE_EXHAUSTED: ")[2].splitlines()[0]


def for_tpu(config: RunConfig, **compute: Any) -> RunConfig:
    """The run with the dtype that ``auto`` means on a TPU (it is another on this CPU), and these compute options."""
    if getattr(config.model.compute, "dtype", None) == "auto":
        compute = {"dtype": "bfloat16", **compute}
    changed = dataclasses.replace(config.model.compute, **compute)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, compute=changed))


def written_out(config: RunConfig) -> RunConfig:
    """One micro-batch of the run, layers and chunks of the losses unrolled: the compiler counts a loop's body once."""
    config = for_tpu(config, unroll=True)
    if getattr(getattr(config, "loss", None), "contrast_chunk", 0):
        config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, contrast_chunk=0))
    return dataclasses.replace(config, batch_size=config.batch_size // config.accumulate, accumulate=1)


def make_trainer(config: RunConfig, mesh: Mesh) -> Trainer:
    """Builds the trainer of any stage from shapes; reads no checkpoint and no data."""
    return Trainer(config, STAGES[config.stage].objective(config, mesh), mesh)


def compile_step(trainer: Trainer) -> Program:
    """Compiles the train step.

    Raises:
      DoesNotFit: It needs more memory than a chip has.
    """
    return _compile(trainer.train_step.lower(trainer.state_shapes, trainer.example_shapes()))


def compile_towers(config: ChatTrainConfig, devices: Sequence[Any], whole: bool = True) -> Program:
    """Compiles the frozen towers for the devices of one host; ``whole`` when there are no other hosts.

    Raises:
      DoesNotFit: They need more memory than a chip has.
    """
    data = config.data
    clip = (data.num_frames, data.image_size, data.image_size, 3)
    group = device_groups(devices, whole)[0]
    shapes = tower_shapes(config.model, clip, data.key_frames.count, CLIPS_PER_DEVICE * len(group))
    return _compile(tower_program(config.model, group).lower(*shapes))


def model_flops(config: RunConfig) -> int:
    """Model FLOPs of a train step over the global batch, without recomputation; a chat stage's towers not included."""
    return STAGES[config.stage].step_flops(config)


def tower_flops(config: RunConfig) -> int:
    """Model FLOPs of a stage's frozen towers on the clips of one step; 0 for a stage without towers."""
    count = STAGES[config.stage].tower_flops
    return count(config) if count else 0


def _compile(lowered: Any) -> Program:
    begin = time.monotonic()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(str(error)) from error
    return Program(compiled, time.monotonic() - begin)


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * 1024 ** " KMGT".index(unit or " "))
