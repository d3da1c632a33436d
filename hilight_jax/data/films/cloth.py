"""Finds the cloth of a billiards table in a small frame, and what lies on it.

The cloth is the large, evenly coloured, compact, well lit area near the middle of the picture; its colour is not given.
Colours are compared by their shares of red and blue, which shadows and lamps leave nearly as they are.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

_BINS = 48
_CANDIDATES = 4
_SMALLEST_SHARE = 0.06  # Of the picture.
_LEAST_SOLID = 0.55  # Share of its outline's area that has the cloth's colour.
_CHROMA = 0.05  # Distance of shares of red and blue at which a colour is another one.
_THING_CHROMA, _CHROMA_SPREADS = (0.035, 0.05), 6.0  # The same for things, and in spreads of the cloth's colours.
_THING_LIGHT, _LIGHT_SPREADS = (0.3, 0.45), 6.0  # Excess of brightness, and in spreads of the cloth's brightness.
_DARKEST = 0.4  # Of the cloth's own brightness nearby; shadows are lighter than black balls.
_DARK = 24.0  # Added to the brightness: shares of dark pixels are noise.


class Cloth(NamedTuple):
    """The cloth of one camera.

    Attributes:
      region: bool [Y, X], the cloth with all that lies on it.
      chroma: [2] its shares of red and blue.
      box: rows and columns of the region.
      least_chroma: distance of the shares from which a thing differs from the cloth.
      least_light: the same for its excess of brightness over the cloth around it, as a share.
      rim: bool, the region's edge within the box; the edge of the picture is one too.
    """

    region: np.ndarray
    chroma: np.ndarray
    box: tuple[slice, slice]
    rim: np.ndarray
    least_chroma: float
    least_light: float

    @property
    def area(self) -> int:
        """Pixels of the region."""
        return int(self.region.sum())

    def things(self, pixels: np.ndarray) -> np.ndarray:
        """Returns bool [y, x] within the box: things on the cloth, of another colour or brightness than around them."""
        light, chroma = _colors(pixels[self.box])
        region = self.region[self.box]
        other = (np.abs(chroma - self.chroma[:, None, None]) > self.least_chroma).any(0)
        plain = region & ~other
        share = _blurred(plain.astype(np.float32))
        around = _blurred(np.where(plain, light, 0)) / np.maximum(share, 1e-3)
        ratio = light / np.maximum(around, 1.0)
        return region & (other | (ratio < _DARKEST) | (ratio > 1 + self.least_light)) & (share > 0.02)


def find_cloth(pixels: np.ndarray) -> Cloth | None:
    """Returns the cloth in a frame, uint8 [Y, X, C], or None where there is none."""
    light, chroma = _colors(pixels)
    height, width = light.shape
    rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    central = np.exp(-1.5 * (rows**2 + columns**2)).astype(np.float32)
    colored = 0.15 + np.abs(chroma - 1 / 3).sum(0)
    usable = (light > 30) & (light < 250)
    index = np.clip((chroma * _BINS).astype(int), 0, _BINS - 1)
    flat = (index[0] * _BINS + index[1])[usable]
    weights = np.bincount(flat, (central * colored)[usable], _BINS**2).reshape(_BINS, _BINS)
    smooth = ndimage.uniform_filter(weights, 3, mode="constant")
    best, best_score = None, 0.0
    for _ in range(_CANDIDATES):
        if smooth.max() <= 0:
            break
        peak = np.unravel_index(int(smooth.argmax()), smooth.shape)
        near = tuple(slice(max(k - 2, 0), k + 3) for k in peak)
        middle = (np.array(peak) + 0.5) / _BINS
        smooth[near] = 0
        found = _region(usable & (np.abs(chroma - middle[:, None, None]) < _CHROMA).all(0))
        if found is None:
            continue
        region, solid = found
        lit = float(np.median(light[region])) / max(float(light.mean()), 1.0)
        score = float((central * colored)[region].sum()) * solid**4 * lit
        if score > best_score:
            same = region & (np.abs(chroma - middle[:, None, None]) < _CHROMA).all(0)
            own = np.median(chroma[:, same], axis=1)
            box = ndimage.find_objects(region.astype(int))[0]
            rim = (region & ~ndimage.binary_erosion(region, iterations=2))[box]
            spread = 1.5 * np.median(np.abs(chroma[:, same] - own[:, None]), axis=1).max()
            local = light[same] / np.maximum(_blurred(light * same) / np.maximum(_blurred(1.0 * same), 1e-3), 1.0)[same]
            light_spread = 1.5 * np.median(np.abs(local - 1))
            best = Cloth(
                *(region, own, box, rim),
                float(np.clip(_CHROMA_SPREADS * spread, *_THING_CHROMA)),
                float(np.clip(_LIGHT_SPREADS * light_spread, *_THING_LIGHT)),
            )
            best_score = score
    return best


def connected(mask: np.ndarray, corners: bool = False) -> np.ndarray:
    """Numbers the connected pieces of a mask from 1 on, int32 [Y, X]; with ``corners`` they may touch at corners."""
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3)) if corners else None, output=labels)
    return labels


def _region(mask: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Returns the outline of a mask's largest part, filled, and the share of it that the part covers."""
    labels = connected(ndimage.binary_opening(mask))
    if not labels.any():
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    part = labels == int(sizes.argmax())
    if part.sum() < _SMALLEST_SHARE * part.size:
        return None
    region = _filled(part)
    solid = float(part.sum() / region.sum())
    return (region, solid) if solid >= _LEAST_SOLID else None


def _filled(part: np.ndarray) -> np.ndarray:
    """Fills a part between its ends, along rows and columns: a table's outline is nearly convex."""
    return _between(part) & _between(part.T).T


def _between(mask: np.ndarray) -> np.ndarray:
    """Returns True between the first and the last True of every row."""
    after = np.logical_or.accumulate(mask, 1)
    before = np.logical_or.accumulate(mask[:, ::-1], 1)[:, ::-1]
    return after & before


def _colors(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns brightness [Y, X], 0..255, and the shares of red and blue [2, Y, X]."""
    channels = pixels.astype(np.float32)
    total = channels.sum(-1)
    shares = np.stack([channels[..., 0], channels[..., 2]]) + _DARK / 3
    return total / 3, shares / (total + _DARK)


def _blurred(values: np.ndarray) -> np.ndarray:
    size = max(9, 2 * (values.shape[1] // 16) + 1)
    return ndimage.uniform_filter(values, size, mode="constant")
