"""Structure and sizes of token mining."""

import dataclasses
import math
from typing import Literal

from hilight_jax.core.errors import ConfigError
from hilight_jax.models.layers import check_multiples, check_sizes


@dataclasses.dataclass(frozen=True)
class TokenMiningConfig:
    """Structure and sizes of the connector; the defaults are the released HiLight-2B's.

    Attributes:
      structure: ``one_linear``: the cross attention, LayerNorm and one linear map. ``two_linear``: LayerNorm and two
        linear maps with a ReLU between. ``dual_projector``, the released one: ``two_linear``, a linear map with ReLU in
        front of each tower, and several tokens a frame. ``grid_pooling``: no queries; the clip's patches are averaged
        on a grid, of as many frames as there are key frames, and mapped as in ``two_linear``.
      tokens_per_frame: Video tokens of a key frame: 1 of the first two structures, a square of ``grid_pooling``.
      expansion: How ``dual_projector`` lays out a frame's expanded features, see ``expand_frames``.
      final_relu: End video tokens in a ReLU. None takes the structure's own: ``dual_projector`` yes, as released;
        ``two_linear`` yes and ``one_linear`` no, both assumed; ``grid_pooling`` no. With ``final_norm`` no.
      final_norm: End video tokens in a LayerNorm, which starts at the length of a text's embeddings.
      positions: Add learned embeddings of a patch's frame, row and column to its key and its value.
      num_heads: N, heads of the cross attention.
      residual: Add each query's features of its key frame to what it mined.
      width_video: D of the video tower.
      width_frames: E of the frame tower, and of the cross attention.
      width_out: D of the language model.
    """

    structure: Literal["dual_projector", "one_linear", "two_linear", "grid_pooling"] = "dual_projector"
    tokens_per_frame: int = 32
    expansion: Literal["reinterpret", "transpose"] = "reinterpret"
    final_relu: bool | None = None
    final_norm: bool = False
    positions: bool = False
    num_heads: int = 1
    residual: bool = False
    width_video: int = 768
    width_frames: int = 512
    width_out: int = 2048

    def __post_init__(self):
        """Checks the sizes, and that every option has an effect on the structure."""
        sizes = ("tokens_per_frame", "num_heads", "width_video", "width_frames", "width_out")
        check_sizes("token_mining", self, sizes)
        check_multiples("token_mining", self, {"width_frames": "num_heads"})
        if self.final_norm and self.final_relu:
            raise ConfigError(
                "token_mining.final_norm and token_mining.final_relu are both True, but video tokens end in one of "
                "them; leave one out."
            )
        if self.structure == "dual_projector":
            return
        if self.structure == "grid_pooling":
            self._check_grid()
        elif self.tokens_per_frame != 1:
            raise ConfigError(
                f"token_mining.tokens_per_frame is {self.tokens_per_frame}, but structure '{self.structure}' makes one "
                f"token of a frame; set it to 1 or token_mining.structure to 'dual_projector'."
            )
        if self.expansion != "reinterpret":
            raise ConfigError(
                f"token_mining.expansion is '{self.expansion}', but structure '{self.structure}' expands nothing; "
                f"leave it out or set token_mining.structure to 'dual_projector'."
            )

    @property
    def ends_in_relu(self) -> bool:
        """``final_relu``, or the structure's own."""
        if self.final_relu is None:
            return self.structure in ("dual_projector", "two_linear") and not self.final_norm
        return self.final_relu

    @property
    def pooled_side(self) -> int:
        """The rows, and the columns, of the grid of ``grid_pooling``."""
        return math.isqrt(self.tokens_per_frame)

    def _check_grid(self) -> None:
        if self.pooled_side**2 != self.tokens_per_frame:
            raise ConfigError(
                f"token_mining.tokens_per_frame is {self.tokens_per_frame}, but structure 'grid_pooling' makes as many "
                f"rows as columns; set it to a square, such as {self.pooled_side**2} or {(self.pooled_side + 1) ** 2}."
            )
        if self.num_heads != 1:
            raise ConfigError(
                f"token_mining.num_heads is {self.num_heads}, but structure 'grid_pooling' has no attention; leave it "
                f"out or set token_mining.structure to 'dual_projector'."
            )
