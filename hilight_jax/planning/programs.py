"""The programs of a run as they are compiled for a pod: the train step, and the towers of the chat stages."""

import dataclasses
import re
import time
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.chat_objective import ChatObjective
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.encoder_objective import EncoderObjective
from hilight_jax.stages.frozen_towers import CLIPS_PER_DEVICE, device_groups, tower_program, tower_shapes
from hilight_jax.stages.long_clip_objective import LongClipObjective, LongClipTrainConfig
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.trainer import Objective, Trainer

_OBJECTIVES = {EncoderTrainConfig: EncoderObjective, LongClipTrainConfig: LongClipObjective}
# What ``auto`` means on a TPU; here, where the default backend is the CPU, it would mean something else.
_ON_TPU = {"dtype": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes:
      compiled: What the compiler made; its figures are of one chip.
      seconds: How long that took, tracing not counted.
    """

    compiled: Any
    seconds: float


class DoesNotFit(Exception):
    """The compiler ran out of a chip's memory.

    Attributes:
      needed: Bytes that it wanted, or None where it did not say.
      limit: Bytes that there are, or None.
      remark: Its own words.
    """

    def __init__(self, message: str):
        """Reads the compiler's message."""
        super().__init__(message)
        found = re.search(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm", message) or re.search(
            r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)", message
        )
        self.needed = _bytes(found[1], found[2]) if found else None
        self.limit = _bytes(found[3], found[4]) if found else None
        self.remark = message.partition("RESOURCE_EXHAUSTED: ")[2].splitlines()[0]


def for_tpu(config: RunConfig, **compute: Any) -> RunConfig:
    """The run with every ``auto`` of its compute options settled as on a TPU, and with these options changed."""
    known = {field.name for field in dataclasses.fields(config.model.compute)}
    settled = {name: value for name, value in _ON_TPU.items() if name in known}
    settled = {name: value for name, value in settled.items() if getattr(config.model.compute, name) == "auto"}
    changed = dataclasses.replace(config.model.compute, **settled | compute)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, compute=changed))


def written_out(config: RunConfig) -> RunConfig:
    """One micro-batch of the run without loops, whose bodies the compiler counts once: layers, chunks of the losses."""
    config = for_tpu(config, unroll=True)
    if getattr(getattr(config, "loss", None), "contrast_chunk", 0):
        config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, contrast_chunk=0))
    return dataclasses.replace(config, batch_size=config.batch_size // config.accumulate, accumulate=1)


def make_trainer(config: RunConfig, mesh: Mesh) -> Trainer:
    """The trainer of any stage, of shapes alone: no checkpoint and no data are read."""
    return Trainer(config, make_objective(config, mesh), mesh)


def make_objective(config: RunConfig, mesh: Mesh) -> Objective:
    """What a stage trains."""
    if isinstance(config, ChatTrainConfig):
        return ChatObjective(config)
    return _OBJECTIVES[type(config)](config, mesh)


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


def one_host(devices: Sequence[Any]) -> list[Any]:
    """The devices that the first host holds."""
    return [device for device in devices if device.process_index == devices[0].process_index]


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
