"""The table of stages: one row registers a stage for every command."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from hilight_jax.stages import flops
from hilight_jax.stages.chat import ChatObjective, ChatStage
from hilight_jax.stages.chat_config import ChatTrainConfig, LanguageModelRun
from hilight_jax.stages.encoder import EncoderObjective, EncoderStage
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.encoder_evaluator import EncoderEvaluator
from hilight_jax.stages.long_clip import LongClipObjective, LongClipStage, LongClipTrainConfig
from hilight_jax.stages.stage import Evaluator, PageRequest, Stage
from hilight_jax.stages.trained_chat import ChatEvaluator, write_chat_page
from hilight_jax.stages.trained_encoder import write_encoder_page
from hilight_jax.training.steps import Objective


@dataclasses.dataclass(frozen=True)
class Row:
    """A stage, as the commands use it; what a stage does not have is None.

    Attributes:
      config: The configuration of its runs (``load_config``, ``convert``).
      stage: Input, objective and evaluation of a run, of ``(config, mesh, workdir)`` (``train``).
      objective: The same objective alone, of ``(config, mesh)``: no data and no other run is read (``plan``).
      step_flops: Model FLOPs of one train step (``plan``, ``benchmark``).
      tower_flops: Model FLOPs of its frozen towers, a program of their own, on the clips of one step (``plan``).
      evaluator: Evaluates a checkpoint, of ``(workdir, which)`` (``evaluate``).
      page: Writes the report page of a run; returns its path and the number of examples on it (``report``).
    """

    config: type[Any]
    stage: Callable[[Any, Mesh, Path], Stage] | None = None
    objective: Callable[[Any, Mesh], Objective] | None = None
    step_flops: Callable[[Any], int] | None = None
    tower_flops: Callable[[Any], int] | None = None
    evaluator: type[Evaluator] | None = None
    page: Callable[[Path, PageRequest], tuple[Path, int]] | None = None


_CHAT = Row(
    config=ChatTrainConfig,
    stage=ChatStage,
    objective=lambda config, mesh: ChatObjective(config),
    step_flops=flops.chat_step_flops,
    tower_flops=flops.tower_flops,
    evaluator=ChatEvaluator,
    page=write_chat_page,
)

STAGES: dict[str, Row] = {
    "encoder": Row(
        config=EncoderTrainConfig,
        stage=EncoderStage,
        objective=EncoderObjective,
        step_flops=flops.encoder_step_flops,
        evaluator=EncoderEvaluator,
        page=write_encoder_page,
    ),
    "long_clip": Row(
        config=LongClipTrainConfig,
        stage=LongClipStage,
        objective=LongClipObjective,
        step_flops=flops.long_clip_step_flops,
    ),
    "align": _CHAT,
    "tune": _CHAT,
    "language_model": Row(config=LanguageModelRun),  # Converted, never trained by itself.
}
