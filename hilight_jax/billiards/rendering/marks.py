"""Marks on a table that are no balls: printed lines and logos, what a projector throws on the cloth, tags on the rails.

A mark is flat and lies in the world's plane of the bed or of the rails, so that it is drawn with the surface that shows
it. Printed ones take the light of their place; projected ones add their own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.rendering.looks import rgb

TAG_BITS = 4  # Squares of a tag in a row and in a column, without its border.


class Stroke(NamedTuple):
    """A straight line with round ends.

    Attributes:
      start: [2] metres.
      end: [2] metres.
      half_width: metres.
      color: sRGB, 0..255.
      opacity: of a printed one, 0 to 1; of a projected one the share of its colour that is added.
    """

    start: np.ndarray
    end: np.ndarray
    half_width: float
    color: tuple[float, float, float]
    opacity: float = 1.0

    def cover(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns True [n] for the points that the mark covers."""
        along = np.subtract(self.end, self.start)
        length = max(float(along @ along), 1e-12)
        share = np.clip(((x - self.start[0]) * along[0] + (y - self.start[1]) * along[1]) / length, 0, 1)
        return np.hypot(x - self.start[0] - share * along[0], y - self.start[1] - share * along[1]) < self.half_width


class Ring(NamedTuple):
    """A circle, or a disc where the inner radius is 0; attributes as of ``Stroke``, radii in metres."""

    center: np.ndarray
    radii: tuple[float, float]
    color: tuple[float, float, float]
    opacity: float = 1.0

    def cover(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns True [n] for the points that the mark covers."""
        away = np.hypot(x - self.center[0], y - self.center[1])
        return (away < self.radii[1]) & (away >= self.radii[0])


class Tag(NamedTuple):
    """A square of black and white squares with a white border, as cameras are calibrated by.

    Attributes:
      center: [2] metres.
      side: metres.
      angle: of its rows, radians.
      bits: bool [TAG_BITS, TAG_BITS], True for white.
      color: of the white squares, sRGB.
    """

    center: np.ndarray
    side: float
    angle: float
    bits: np.ndarray
    color: tuple[float, float, float] = (236, 236, 232)
    opacity: float = 1.0

    def cover(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns True [n] for the points that lie on a white square."""
        cells = TAG_BITS + 2
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        column = (cos * (x - self.center[0]) + sin * (y - self.center[1])) / self.side + 0.5
        row = (-sin * (x - self.center[0]) + cos * (y - self.center[1])) / self.side + 0.5
        inside = (column >= 0) & (column < 1) & (row >= 0) & (row < 1)
        white = np.pad(self.bits, 1, constant_values=True)
        places = np.clip((np.stack([row, column]) * cells).astype(int), 0, cells - 1)
        return inside & white[places[0], places[1]]


Mark = Stroke | Ring | Tag


class Marks(NamedTuple):
    """All marks of a table.

    Attributes:
      printed: on the cloth.
      projected: on the cloth, as light.
      on_rails: printed on the rails.
    """

    printed: Sequence[Mark] = ()
    projected: Sequence[Mark] = ()
    on_rails: Sequence[Mark] = ()


NO_MARKS = Marks()


def print_on(color: np.ndarray, point: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    """Returns the colours [3, n] of points [>=2, n], metres, with printed marks over them."""
    for mark in marks:
        covered = mark.cover(point[0], point[1])
        if covered.any():
            color = np.where(covered, (1 - mark.opacity) * color + mark.opacity * rgb(mark.color), color)
    return color.astype(np.float32)


def project_on(color: np.ndarray, point: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    """Returns the colours [3, n] of lit points [>=2, n], metres, with the light of projected marks added."""
    for mark in marks:
        covered = mark.cover(point[0], point[1])
        if covered.any():
            color = color + covered * np.float32(mark.opacity) * rgb(mark.color)
    return color.astype(np.float32)
