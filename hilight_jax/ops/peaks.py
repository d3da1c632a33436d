"""The place of a similarity map's peak, below a patch."""

import numpy as np
from jaxtyping import Float

# A peak's weight above its excess, so that a flat map has a place.
_FLAT = 1e-6


def peak_places(maps: Float[np.ndarray, "*B P"], columns: int) -> Float[np.ndarray, "*B 2"]:
    """Returns x and y of each map's peak, from -1 (left, top edge) to 1 (right, bottom edge).

    A thing of a patch's size lies on several patches, each about as similar as the share of it that they show. So its
    centre is the mean of the peak's patch and its neighbours, at most eight, weighted by what each has above the mean
    of the map. On the object balls of the demo's held-out clips the median error is 1.5 px of a patch's 8; that of the
    best patch's own centre is 3.5 (docs/results.md).

    Args:
      maps: Similarities of P = rows * columns patches, row-major. A flat map's place is its first patch.
      columns: Patches of a row.
    """
    number = np.arange(maps.shape[-1])
    column, row = number % columns, number // columns
    rows = maps.shape[-1] // columns
    centres = np.stack([(2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1], axis=-1)  # [P, 2]
    best = np.argmax(maps, axis=-1)[..., None]
    near = (np.abs(column - best % columns) <= 1) & (np.abs(row - best // columns) <= 1)
    excess = np.maximum(maps - np.mean(maps, axis=-1, keepdims=True), 0)
    weights = np.where(near, excess, 0) + np.where(number == best, _FLAT, 0)
    return np.einsum("...P,PX->...X", weights, centres) / np.sum(weights, axis=-1, keepdims=True)
