"""Rotations of spinning balls, by the fourth-order Magnus expansion (Blanes et al., Physics Reports 470, 2009).

T times, K steps, n balls. Quaternions are (w, x, y, z), unit, and turn a ball's own axes into the world's.
"""

from collections.abc import Callable

import numpy as np

_GAUSS = 3**0.5 / 6  # the two Gauss points lie this share of a step before and after its middle
_STEP_ERROR = 1e-5  # of one step between two breaks, rad


def rotations(spins: Callable[[np.ndarray], np.ndarray], times: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    """Returns the rotation of each ball since time 0.

    Args:
        spins: From moments [K] (s) to spins [K, n, 3] (rad/s), smooth between the breaks.
        times: float [T], not negative, in any order, s.
        breaks: Moments where some spin jumps or bends, s.

    Returns:
        float [T, n, 3, 3], rotation matrices.
    """
    stops = np.unique(np.concatenate([[0.0], times, breaks[(breaks > 0) & (breaks < times.max(initial=0))]]))
    steps = _subdivided(spins, stops)
    turns = _quaternions(_turn_vectors(spins, steps))
    still = np.zeros_like(turns[:1])
    still[..., 0] = 1
    turned = _running_products(np.concatenate([still, turns]))
    return _matrices(turned[np.searchsorted(steps, times)])


def _gauss_spins(spins, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(lengths [K, 1, 1], spins at both Gauss points [K, n, 3] each) of the steps between K + 1 moments."""
    length = np.diff(steps)
    middle = steps[:-1] + 0.5 * length
    both = spins(np.concatenate([middle - _GAUSS * length, middle + _GAUSS * length]))
    return length[:, None, None], both[: len(length)], both[len(length) :]


def _turn_vectors(spins, steps: np.ndarray) -> np.ndarray:
    """Axis times angle of every step, float [K, n, 3]."""
    length, early, late = _gauss_spins(spins, steps)
    return 0.5 * length * (early + late) + 3**0.5 / 12 * length**2 * np.cross(late, early)


def _subdivided(spins, stops: np.ndarray) -> np.ndarray:
    """Adds enough moments between the stops that the next term of the expansion stays below the step error.

    That term is of the size |w|^2 |w' x w| h^5 / 720 for spin w and step h.
    """
    length, early, late = _gauss_spins(spins, stops)
    bending = np.linalg.norm(np.cross(late, early), axis=-1) / (2 * _GAUSS)  # |w' x w| h
    size = (early**2).sum(-1)
    error = (length[..., 0] ** 4 * size * bending / 720).max(1, initial=0)
    parts = np.maximum(np.ceil((error / _STEP_ERROR) ** 0.25), 1).astype(int)
    # Moment k of an interval's `parts`; the last stop closes the list.
    first = np.repeat(np.cumsum(parts) - parts, parts)
    share = (np.arange(parts.sum()) - first) / np.repeat(parts, parts)
    inner = np.repeat(stops[:-1], parts) + share * np.repeat(np.diff(stops), parts)
    return np.append(inner, stops[-1])


def _quaternions(turns: np.ndarray) -> np.ndarray:
    """Unit quaternions [..., 4] from axis times angle [..., 3]."""
    half = 0.5 * np.linalg.norm(turns, axis=-1, keepdims=True)
    return np.concatenate([np.cos(half), 0.5 * np.sinc(half / np.pi) * turns], -1)


def _product(late: np.ndarray, early: np.ndarray) -> np.ndarray:
    """Returns the rotation that first turns by `early`, then by `late`."""
    a, b, c, d = np.moveaxis(late, -1, 0)
    e, f, g, h = np.moveaxis(early, -1, 0)
    return np.stack(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ],
        -1,
    )


def _running_products(turns: np.ndarray) -> np.ndarray:
    """Entry k is turns[k] ... turns[1] turns[0], in log2(K) passes."""
    reach = 1
    while reach < len(turns):
        turns = np.concatenate([turns[:reach], _product(turns[reach:], turns[:-reach])])
        reach *= 2
    return turns / np.linalg.norm(turns, axis=-1, keepdims=True)


def _matrices(quaternions: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] from unit quaternions [..., 4]."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)
