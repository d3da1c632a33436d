"""A broadcast's score banner."""

import dataclasses

import numpy as np

from hilight_jax.billiards.rendering.layers import Box, Layer
from hilight_jax.billiards.rendering.looks import bitmap

_PANEL = (18, 24, 40)
_TEXT = (244, 244, 240)
_OPACITY = 0.88


@dataclasses.dataclass(frozen=True)
class Banner:
    """The score of two players.

    Attributes:
      scores: frames won by each, 0 to 99.
      colors: each player's colour, sRGB.
    """

    scores: tuple[int, int]
    colors: tuple[tuple[int, int, int], tuple[int, int, int]] = ((196, 40, 44), (40, 88, 190))

    def __post_init__(self):
        if not all(0 <= score <= 99 for score in self.scores):
            raise ValueError(f"The banner's scores are {self.scores}; each must lie in 0 to 99.")


def draw(banner: Banner, height: int, width: int) -> Layer | None:
    """Returns the banner's layer at the middle of the lower edge; None where the picture is too small for it.

    The players' colours enclose the scores; a digit is about a twentieth of the picture high, at least 7 pixels.
    """
    scale = max(1, round(min(height, width) / 150))
    left, right = (np.kron(bitmap(str(score)), np.ones((scale, scale), bool)) for score in banner.scores)
    pad, chip, rows = scale, 3 * scale, 9 * scale
    columns = 2 * chip + left.shape[1] + right.shape[1] + 6 * pad
    if rows + pad > height or columns > width:
        return None
    color = np.empty((3, rows, columns), np.float32)
    color[:] = np.array(_PANEL, np.float32)[:, None, None]
    first, second = (np.array(value, np.float32)[:, None, None] for value in banner.colors)
    color[:, :, :chip], color[:, :, -chip:] = first, second
    for digits, column in ((left, chip + pad), (right, columns - chip - pad - right.shape[1])):
        window = color[:, pad : pad + digits.shape[0], column : column + digits.shape[1]]
        np.copyto(window, np.array(_TEXT, np.float32)[:, None, None], where=digits)
    top, edge = height - rows - pad, (width - columns) // 2
    alpha = np.full((rows, columns), _OPACITY, np.float32)
    return Layer(Box(top, top + rows, edge, edge + columns), color * alpha, alpha, np.zeros_like(alpha))
