"""Long-CLIP's objective: images match long texts, their principal components match short texts.

After ``CLIP.forward`` and ``train/train.py`` of beichenzbc/Long-CLIP: two contrastive losses of equal weight, each the
mean of its two directions, with smoothed labels. (A weight of 0.1 for the short texts is found there in a comment.)
"""

import dataclasses
import functools

from jax.sharding import Mesh
from jaxtyping import Array, Float

from hilight_jax.core.config import check
from hilight_jax.core.means import Mean
from hilight_jax.losses.contrastive import contrastive_loss, smoothed
from hilight_jax.losses.principal_components import grouped_components
from hilight_jax.ops.vectors import at_least_float32, unit


@dataclasses.dataclass(frozen=True)
class LongClipLossConfig:
    """Long-CLIP's objective; the defaults are the released ones.

    Attributes:
      components: Principal components that are kept for the short texts.
      group_size: Consecutive images of the global batch that components are taken over; the images of one GPU in the
        original. A group of ``components + 1`` or fewer drops nothing.
      label_smoothing: Share of a target that is spread over the whole batch.
      short_weight: Weight of the short texts' loss beside that of the long ones.
      contrast_chunk: Rows of a device whose logits are held at a time; 0 holds those of all.
    """

    components: int = 32
    group_size: int = 128
    label_smoothing: float = 0.1
    short_weight: float = 1.0
    contrast_chunk: int = 0

    def __post_init__(self):
        """Checks every value."""
        check(self, "loss.", lambda x: x >= 1, "at least 1", "components", "group_size")
        check(self, "loss.", lambda x: 0 <= x < 1, "at least 0 and below 1", "label_smoothing")
        check(self, "loss.", lambda x: x >= 0, "at least 0", "short_weight")
        check(self, "loss.", lambda x: x >= 0, "at least 0; 0 takes all rows at once", "contrast_chunk")


def long_clip_loss(
    config: LongClipLossConfig,
    image_embeds: Float[Array, "B E"],
    long_embeds: Float[Array, "B E"],
    short_embeds: Float[Array, "B E"],
    log_scale: Float[Array, ""],
    mesh: Mesh,
) -> dict[str, Mean]:
    """The terms ``long`` and ``short``; each sums over the batch, and its count is the batch size.

    Components are taken of the unit vectors and not normalised again.

    Args:
      config: Components, groups and smoothing.
      image_embeds: Images; normalised here, as are the texts.
      long_embeds: The long text of each image.
      short_embeds: Its short text.
      log_scale: Logarithm of the inverse temperature.
      mesh: The mesh of ``core.mesh``.

    Raises:
      ConfigError: At trace time, when groups and devices do not divide the batch.
    """
    images = unit(at_least_float32(image_embeds))
    coarse = grouped_components(images, config.components, config.group_size, mesh)
    texts = (unit(at_least_float32(x)) for x in (long_embeds, short_embeds))
    per_row = functools.partial(smoothed, smoothing=config.label_smoothing)
    return {
        name: contrastive_loss(per_row, {"image": rows, "text": text}, log_scale, mesh, config.contrast_chunk)
        for name, rows, text in zip(("long", "short"), (images, coarse), texts, strict=True)
    }
