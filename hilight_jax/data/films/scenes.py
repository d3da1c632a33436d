"""Divides a film into scenes at its camera cuts, and compares the pictures of cameras.

Two pictures of one camera agree at nearly all edges, whatever people and balls do; a cut changes most of them, even one
to a camera at nearly the same place.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

ROWS, COLUMNS = 12, 20
SHRINK = 2
_CELL_CHANGES = 20.0  # Of 255.
_CUT_SHARE = 0.3  # Of the cells, or of the edges, that change from one frame to the next.
_EDGE_SHARE = 0.4
_SPLICE_SHARE, _SPLICE_FACTOR, _RECENT = 0.04, 4.0, 5  # Of the edges; to the largest of so many frames before.
_DRIFT_SHARE = 0.5  # Of the cells that differ from the scene's beginning after a dissolve or a pan.
_FOLLOWS = 0.05  # Share by which a scene's picture follows each frame.
_EDGE, _EDGE_CHANGES = 28, 18  # Of 255: range of an edge's neighbourhood, and a change beyond the range.
_FEWEST_EDGES = 30  # Pixels.


class Outline(NamedTuple):
    """A picture, as coarse colours and as grey values of half its size.

    Attributes:
      cells: float32 [R, S, C].
      low: uint8 [y, x], smallest grey value of the neighbourhood.
      high: uint8 [y, x], largest one.
      grey: uint8 [y, x].
    """

    cells: np.ndarray
    low: np.ndarray
    high: np.ndarray
    grey: np.ndarray


def outline(pixels: np.ndarray, reach: int = 3) -> Outline:
    """Returns the outline of a picture, uint8 [Y, X, C], with neighbourhoods of ``reach`` x ``reach`` pixels."""
    image = Image.fromarray(pixels)
    cells = np.asarray(image.resize((COLUMNS, ROWS), Image.Resampling.BOX), np.float32)
    grey = np.asarray(image.convert("L").reduce(SHRINK))
    return Outline(cells, ndimage.minimum_filter(grey, reach), ndimage.maximum_filter(grey, reach), grey)


def cells_changed(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the share of the cells of two pictures that differ."""
    return float((np.abs(one - other).max(-1) > _CELL_CHANGES).mean())


def edges_changed(one: Outline, other: Outline) -> float:
    """Returns the share of the edges of both pictures that the other one does not have."""
    edges = changed = 0
    for here, there in ((one, other), (other, one)):
        edge = here.high - here.low > _EDGE
        above, below = np.maximum(here.grey, there.high) - there.high, there.low - np.minimum(here.grey, there.low)
        beyond = np.maximum(above, below)
        edges += int(edge.sum())
        changed += int((edge & (beyond > _EDGE_CHANGES)).sum())
    return changed / edges if edges >= _FEWEST_EDGES else 0.0


class Scene:
    """A scene while it lasts.

    Attributes:
      start: seconds.
      cells: its coarse colours, which follow slow changes.
      latest: the outline of its latest frame.
    """

    def __init__(self, start: float, first: Outline):
        """Begins with its first frame."""
        self.start, self.cells, self.latest = start, first.cells, first
        self._edges: list[float] = []

    def goes_on(self, frame: Outline) -> bool:
        """Returns False if a frame belongs to another scene: after a cut, a dissolve, a pan.

        Film that is cut out of one camera's picture leaves a small jump, which is one of a single frame.
        """
        edges = edges_changed(frame, self.latest)
        is_splice = len(self._edges) == _RECENT and edges > max(_SPLICE_SHARE, _SPLICE_FACTOR * max(self._edges))
        is_cut = edges > _EDGE_SHARE or cells_changed(frame.cells, self.latest.cells) > _CUT_SHARE
        self.latest = frame
        self._edges = [*self._edges, edges][-_RECENT:]
        if is_cut or is_splice or cells_changed(frame.cells, self.cells) > _DRIFT_SHARE:
            return False
        self.cells = self.cells + _FOLLOWS * (frame.cells - self.cells)
        return True
