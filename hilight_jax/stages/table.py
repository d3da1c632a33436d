"""Which stage a configuration is of."""

from pathlib import Path

from jax.sharding import Mesh

from hilight_jax.stages.chat import ChatStage
from hilight_jax.stages.encoder import EncoderStage
from hilight_jax.stages.long_clip import LongClipStage
from hilight_jax.stages.stage import Stage
from hilight_jax.training.run_config import RunConfig

STAGES = {"encoder": EncoderStage, "long_clip": LongClipStage, "align": ChatStage, "tune": ChatStage}


def make_stage(config: RunConfig, mesh: Mesh, workdir: Path) -> Stage:
    """Builds the stage of ``config``, whose sources must be ready to open, for a run in ``workdir``."""
    return STAGES[config.stage](config, mesh, workdir)
