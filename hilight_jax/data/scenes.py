"""Divides a film into scenes at its camera cuts, and recognizes a camera that comes back."""

import numpy as np
from PIL import Image

ROWS, COLUMNS = 12, 20
_CELL_CHANGES = 20.0  # Of 255.
_CUT_SHARE = 0.3  # Of the cells that change from one frame to the next.
_SAME_SHARE = 0.2  # Of the cells that may differ between two pictures of one camera: people move.
_DRIFT_SHARE = 0.5  # Of the cells that differ from the scene's beginning after a dissolve or a pan.
_FOLLOWS = 0.05  # Share by which a scene's picture follows each frame.


def grid(pixels: np.ndarray) -> np.ndarray:
    """Returns a picture, uint8 [Y, X, C], as the mean colours of few cells, float32 [R, S, C]."""
    return np.asarray(Image.fromarray(pixels).resize((COLUMNS, ROWS), Image.Resampling.BOX), np.float32)


def is_same_camera(one: np.ndarray, other: np.ndarray) -> bool:
    """Returns True if two grids are likely to be of one camera."""
    return _differing(one, other) < _SAME_SHARE


def _differing(one: np.ndarray, other: np.ndarray) -> float:
    return float((np.abs(one - other).max(-1) > _CELL_CHANGES).mean())


class Scene:
    """A scene while it lasts.

    Attributes:
      start: seconds.
      camera: its picture as a grid, which follows slow changes.
    """

    def __init__(self, start: float, first: np.ndarray):
        """Begins with the grid of its first frame."""
        self.start, self.camera, self._latest = start, first, first

    def goes_on(self, cells: np.ndarray) -> bool:
        """Returns False if a frame, given as its grid, belongs to another scene: after a cut, a dissolve, a pan."""
        is_cut = _differing(cells, self._latest) > _CUT_SHARE
        self._latest = cells
        if is_cut or _differing(cells, self.camera) > _DRIFT_SHARE:
            return False
        self.camera = self.camera + _FOLLOWS * (cells - self.camera)
        return True
