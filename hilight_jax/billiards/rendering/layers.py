"""Rectangular pieces of picture with transparency and depth, their composition, and a broadcast's score banner."""

import dataclasses
from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.rendering.looks import bitmap, rgb

_PANEL = (18, 24, 40)
_PLAYERS = ((196, 40, 44), (40, 88, 190))
_TEXT = (244, 244, 240)
_OPACITY = 0.88


class Box(NamedTuple):
    """Pixel rows [top, bottom) and columns [left, right); it may reach beyond the picture."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, left: float, top: float, right: float, bottom: float) -> "Box":
        """The whole pixels that cover a rectangle given in pixel positions."""
        return cls(int(np.floor(top)), int(np.ceil(bottom)), int(np.floor(left)), int(np.ceil(right)))

    def clipped(self, height: int, width: int) -> "Box":
        """Returns the part inside a picture of that size; empty (see ``area``) if there is none."""
        top, left = max(self.top, 0), max(self.left, 0)
        return Box(top, max(min(self.bottom, height), top), left, max(min(self.right, width), left))

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.bottom - self.top) * (self.right - self.left)

    def slices(self, origin: tuple[int, int] = (0, 0)) -> tuple[slice, slice]:
        """Row and column slices in an array whose first pixel is at ``origin`` (top, left)."""
        top, left = origin
        return slice(self.top - top, self.bottom - top), slice(self.left - left, self.right - left)


class Layer(NamedTuple):
    """A piece of picture of y rows and x columns.

    Attributes:
      box: its place.
      color: float32 [3, y, x], 0..255, already multiplied by ``alpha``.
      alpha: float32 [y, x], the share of each pixel that it covers, 0..1.
      depth: float32 [y, x], metres; meaningful where ``alpha`` > 0.
    """

    box: Box
    color: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray

    def clipped(self, height: int, width: int) -> "Layer":
        """Returns the part inside a picture of that size."""
        box = self.box.clipped(height, width)
        if box == self.box:
            return self
        part = box.slices((self.box.top, self.box.left))
        return Layer(box, self.color[:, part[0], part[1]], self.alpha[part], self.depth[part])

    def behind(self, depth: np.ndarray) -> "Layer":
        """The layer without the pixels that something nearer hides; ``depth`` [Y, X] is that of the picture."""
        seen = (self.depth < depth[self.box.slices()]).astype(np.float32)
        return Layer(self.box, self.color * seen, self.alpha * seen, self.depth)

    def over(self, other: "Layer") -> float:
        """Pixels of the other layer that this one covers."""
        top, left = max(self.box.top, other.box.top), max(self.box.left, other.box.left)
        both = Box(top, min(self.box.bottom, other.box.bottom), left, min(self.box.right, other.box.right))
        if both.top >= both.bottom or both.left >= both.right:
            return 0.0
        mine = self.alpha[both.slices((self.box.top, self.box.left))]
        return float((mine * other.alpha[both.slices((other.box.top, other.box.left))]).sum())


def lay_over(image: np.ndarray, depth: np.ndarray, layer: Layer) -> None:
    """Paints a layer that lies inside the picture over ``image`` [3, Y, X] and ``depth`` [Y, X], in place."""
    rows, columns = layer.box.slices()
    region = image[:, rows, columns]
    region *= 1 - layer.alpha
    region += layer.color
    np.copyto(depth[rows, columns], layer.depth, where=layer.alpha > 0.5)


@dataclasses.dataclass(frozen=True)
class Banner:
    """The score of two players.

    Attributes:
      scores: frames won by each, 0 to 99.
    """

    scores: tuple[int, int]

    def __post_init__(self):
        if not all(0 <= score <= 99 for score in self.scores):
            raise ValueError(f"The banner's scores are {self.scores}; each must lie in 0 to 99.")


def draw_banner(banner: Banner, height: int, width: int) -> Layer | None:
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
    color[:] = rgb(_PANEL)[:, None]
    color[:, :, :chip], color[:, :, -chip:] = (rgb(player)[:, None] for player in _PLAYERS)
    for digits, column in ((left, chip + pad), (right, columns - chip - pad - right.shape[1])):
        window = color[:, pad : pad + digits.shape[0], column : column + digits.shape[1]]
        np.copyto(window, rgb(_TEXT)[:, None], where=digits)
    top, edge = height - rows - pad, (width - columns) // 2
    alpha = np.full((rows, columns), _OPACITY, np.float32)
    return Layer(Box(top, top + rows, edge, edge + columns), color * alpha, alpha, np.zeros_like(alpha))
