"""The description of a training run of the encoder."""

import dataclasses
import re
from typing import Literal

from hilight_jax.core.config import check, check_same
from hilight_jax.core.errors import ConfigError
from hilight_jax.data.config import DataConfig
from hilight_jax.losses.local import LocalLossConfig
from hilight_jax.models.video_text import DualEncoderConfig
from hilight_jax.stages.stage import check_texts
from hilight_jax.training.run_config import RunConfig


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The encoder's loss: a global contrastive loss plus ``local_weight`` times the local one.

    Attributes:
      contrast: The global loss.
      local_weight: Weight of the local loss beside it.
      local: What the local loss contrasts.
      contrast_chunk: Rows of a device whose logits against the whole batch exist at a time; 0 keeps those of all. The
        loss is the same.
    """

    contrast: Literal["nce", "nce_vsc_fc"] = "nce"
    local_weight: float = 1.0
    local: LocalLossConfig = LocalLossConfig()
    contrast_chunk: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderTrainConfig(RunConfig):
    """A training run of the encoder, CLIP-ViP+.

    Attributes beside those of ``RunConfig``:
      model: Sizes.
      loss: The global and the local loss.
      data: Clips and captions.
      zero: Path patterns of parameters that start from zero, such as ``vision/embeddings/position_embedding``: with
        the same in ``freeze`` the model has none; ``init_from`` has to skip them.
      compare_gradients: At every evaluation, also compare the gradients of the global and the local loss on a batch of
        validation clips, see ``gradient_agreement``.
    """

    stage: Literal["encoder"] = "encoder"
    model: DualEncoderConfig
    loss: LossConfig
    data: DataConfig
    zero: tuple[str, ...] = ()
    compare_gradients: bool = False

    def __post_init__(self):
        """Checks keys against each other."""
        super().__post_init__()
        if self.loss.local.contrast != "none" and not self.model.local.levels:
            raise ConfigError(
                f"config.loss.local.contrast is '{self.loss.local.contrast}', but config.model.local.levels is empty; "
                f"tap a level, or set the contrast to 'none'."
            )
        if self.loss.local.contrast == "none" and self.model.local.levels and not self.model.pool_local:
            raise ConfigError(
                "config.loss.local.contrast is 'none', but config.model.local.levels taps levels that nothing would "
                "train; set config.model.local.levels=()."
            )
        for pattern in self.zero:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"config.zero: '{pattern}' is not a regular expression of paths: {error}.") from error
        if self.zero and self.init_from is not None and not set(self.zero) <= set(self.init_from.skip):
            raise ConfigError(
                f"config.zero is {list(self.zero)}, but config.init_from loads these parameters; name them in "
                f"config.init_from.skip as well."
            )
        if self.compare_gradients and (self.loss.local.contrast == "none" or not self.data.validation):
            lacking = "data.validation" if self.loss.local.contrast != "none" else "a local loss"
            raise ConfigError(f"config.compare_gradients needs {lacking}; set it, or leave compare_gradients out.")
        check(self, "config.", lambda x: x >= 0, "at least 0", "loss.local_weight")
        check(self, "config.", lambda x: x >= 0, "at least 0; 0 takes all rows at once", "loss.contrast_chunk")
        if self.loss.contrast == "nce_vsc_fc" and not self.data.frame_captions:
            raise ConfigError("config.loss.contrast='nce_vsc_fc' needs config.data.frame_captions=true.")
        if self.data.swaps and self.loss.contrast != "nce":
            raise ConfigError(
                f"config.data.swaps is {self.data.swaps}, but config.loss.contrast='{self.loss.contrast}' has no place "
                "for false captions; set it to 'nce', or swaps to 0."
            )
        check_same(self, "config.", "data.image_size", "model.vision.image_size")
        check_texts(self)
