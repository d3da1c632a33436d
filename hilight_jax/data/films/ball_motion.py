"""Finds small things that lie on the cloth where they did not lie a moment before.

Hands, arms, cues and people reach into the cloth from its edge: they are parts of large things, or of things at the
edge, and are left out.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from hilight_jax.data.films.cloth import Cloth, connected

_LEAST_CHANGE = 14.0  # Of 255.
_NOISE_FACTOR = 6.0
_LARGEST_SHARE = 0.04  # Of the cloth: a thing of touching balls.
_SMALLEST_AREA = 4  # Pixels.
_MOST_CHANGED = 0.25  # Share of the cloth; where more has changed the camera moves, or somebody hides the table.
_THINNEST = 0.28  # Area of a ball, blurred by its motion, to that of the square around it.
_BARE = 0.25  # Share of a place that other things may cover where a ball has left it.


class Blob(NamedTuple):
    """A small thing on the cloth: its middle, in pixels, and its area."""

    x: float
    y: float
    area: float


class Motion(NamedTuple):
    """Small places on the cloth that have changed: ``arrivals``, things that lie there now, and ``all`` of them.

    A white ball on bright cloth is hardly a thing, but its old and its new place both change.
    """

    arrivals: list[Blob]
    all: list[Blob]


def motion(cloth: Cloth, pixels: np.ndarray, earlier: np.ndarray, noise: float) -> Motion:
    """Returns the small changes of a frame against an earlier frame.

    Args:
      cloth: of this camera.
      pixels: uint8 [Y, X, C].
      earlier: uint8 [Y, X, C], a fraction of a second before.
      noise: standard deviation of a pixel's noise, of 255.
    """
    region = cloth.region[cloth.box]
    changed = _changes(pixels[cloth.box], earlier[cloth.box], max(_LEAST_CHANGE, _NOISE_FACTOR * noise)) & region
    if not _SMALLEST_AREA <= changed.sum() <= _MOST_CHANGED * cloth.area:
        return Motion([], [])
    loose = changed & _loose(changed, cloth)  # The change of an arm, of its shadow too, reaches the edge.
    if not loose.any():
        return Motion([], [])
    arrived = connected(loose & _loose(cloth.things(pixels), cloth), corners=True)
    parts = connected(loose, corners=True)
    return Motion(_blobs(arrived, cloth), _blobs(parts, cloth))


def layout(cloth: Cloth, things: np.ndarray) -> list[Blob]:
    """Returns all small things that lie on the cloth, surrounded by it; ``things`` is of `Cloth.things`."""
    parts = connected(_loose(things, cloth), corners=True)
    return _blobs(parts, cloth)


def has_left(blob: Blob, cloth: Cloth, things: np.ndarray) -> bool:
    """Returns True if there is bare cloth where a thing was."""
    reach = 0.5 * np.sqrt(blob.area)
    rows, columns = (slice(max(round(m - reach), 0), round(m + reach) + 1) for m in _within(blob, cloth))
    place = things[rows, columns]
    return place.size > 0 and float(place.mean()) < _BARE


def _within(blob: Blob, cloth: Cloth) -> tuple[float, float]:
    """Returns the row and the column of a thing within the cloth's box."""
    return blob.y - cloth.box[0].start, blob.x - cloth.box[1].start


def _loose(things: np.ndarray, cloth: Cloth) -> np.ndarray:
    """Returns the part of ``things``, bool [y, x] within the cloth's box, in small pieces not at the cloth's edge."""
    whole = connected(things, corners=True)
    sizes = np.bincount(whole.ravel())
    loose = sizes <= _LARGEST_SHARE * cloth.area
    loose[np.unique(whole[cloth.rim])] = False
    loose[0] = False
    return loose[whole]


def _blobs(parts: np.ndarray, cloth: Cloth) -> list[Blob]:
    found = []
    top, left = cloth.box[0].start, cloth.box[1].start
    for part, where in enumerate(ndimage.find_objects(parts), 1):
        y, x = np.nonzero(parts[where] == part)
        longest = max(np.ptp(y), np.ptp(x)) + 1
        if len(y) >= max(_SMALLEST_AREA, _THINNEST * longest**2):
            found.append(Blob(float(x.mean()) + where[1].start + left, float(y.mean()) + where[0].start + top, len(y)))
    return found


def _changes(pixels: np.ndarray, earlier: np.ndarray, least: float) -> np.ndarray:
    """Returns bool [y, x]: pixels that lie outside the range of their neighbourhood in an earlier frame by ``least``.

    The neighbourhood of 3 x 3 pixels forgives a camera that shakes.
    """
    step = np.uint8(min(least, 255))
    plain = (np.maximum(pixels, earlier) - np.minimum(pixels, earlier) > step).any(-1)
    if not plain.any():
        return plain
    low, high = _spread(earlier, np.minimum), _spread(earlier, np.maximum)
    above, below = np.maximum(pixels, high) - high, low - np.minimum(pixels, low)
    return (np.maximum(above, below) > step).any(-1)


def _spread(picture: np.ndarray, choose: np.ufunc) -> np.ndarray:
    """Returns the smallest or largest values within 3 x 3 pixels, ``choose`` being np.minimum or np.maximum."""
    for axis in (0, 1):
        picture = np.moveaxis(picture, axis, 0)
        spread = picture.copy()
        choose(spread[1:], picture[:-1], out=spread[1:])
        choose(spread[:-1], picture[1:], out=spread[:-1])
        picture = np.moveaxis(spread, 0, axis)
    return picture
