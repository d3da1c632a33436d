"""Soft patch weights: the share of a ball's disc that lies in each patch of each frame."""

import numpy as np


def patch_weights(
    x: np.ndarray, y: np.ndarray, radius: np.ndarray, visible: np.ndarray, height: int, width: int, patch_size: int
) -> np.ndarray:
    """Divides a disc among the patches of its frame, by exact area.

    The disc's centre (x, y) and radius are in pixels, [F] each, from the left and upper edge of the image; ``visible``
    [F] is the fraction of it that is seen. ``patch_size``, the side of a square patch, divides ``height`` and
    ``width``.

    Returns:
      [F, P] area of the disc inside each patch divided by the area of the whole disc. Patches are numbered row by row.
      A row sums to one for a disc inside the image, to less at the border, to zero where the disc is not visible.

    Raises:
      ValueError: if the patch size does not divide the image.
    """
    if height % patch_size or width % patch_size:
        raise ValueError(f"patch size {patch_size} does not divide an image of {height} rows and {width} columns.")
    x, y, radius, visible = (np.asarray(a, np.float64) for a in (x, y, radius, visible))
    safe = np.maximum(radius, 1e-6)[:, None]
    columns = (np.arange(width // patch_size + 1) * patch_size - x[:, None]) / safe
    rows = (np.arange(height // patch_size + 1) * patch_size - y[:, None]) / safe
    corner = _area_left_below(columns[:, None, :], rows[:, :, None])
    area = np.diff(np.diff(corner, axis=1), axis=2)
    shown = (visible > 0) & (radius > 0)
    weights = np.where(shown[:, None, None], np.maximum(area, 0) / np.pi, 0)
    return weights.reshape(len(x), -1)


def _area_left_below(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the area of the unit disc's part with first coordinate <= x and second <= y, by direct integration."""
    x, y = np.clip(x, -1, 1), np.clip(y, -1, 1)
    chord = np.sqrt(1 - y * y)  # The line at height y lies inside the disc between -chord and chord.
    left, middle, right = np.minimum(x, -chord), np.clip(x, -chord, chord), np.maximum(x, chord)
    arc = _half_area(x) - _half_area(-1)
    outer = _half_area(left) - _half_area(-1) + _half_area(right) - _half_area(chord)
    return arc + np.sign(y) * outer + y * (middle + chord)


def _half_area(x: np.ndarray) -> np.ndarray:
    """Returns the integral of the half circle sqrt(1 - x^2) from 0 to x."""
    return 0.5 * (x * np.sqrt(np.maximum(1 - np.square(x), 0)) + np.arcsin(x))
