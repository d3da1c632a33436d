"""Resizes frames to the model's size, exactly as the originals do it: forced bicubic resize, no clamp.

CLIP's mean and deviation come after it, on the device (``models/clip.normalise``).

Two bicubic filters are in use. HiLight's and Long-CLIP's is PIL's: Keys' kernel with a = -0.5, widened when shrinking
(antialias), its window cut at the border and renormalised. CLIP-ViP's own (torchvision <= 0.16 without ``antialias``)
is torch's plain one: a = -0.75, four taps whatever the scale, border pixels repeated. Both squash: the aspect ratio is
not kept, and the centre crop that follows in the originals does nothing.

A resize is a matrix product on either side. The matrices are banded, so output rows are computed in runs of 16, each
from the input rows that it needs.
"""

import functools

import numpy as np

_RUN = 16


def resize(frames: np.ndarray, size: tuple[int, int], antialias: bool = True) -> np.ndarray:
    """Resizes floating-point frames [F, Y, X, C] to (y, x), [F, y, x, C]; values may leave the input's range.

    ``antialias`` chooses HiLight's and Long-CLIP's filter, which all pipelines use; without, it is CLIP-ViP's own.
    """
    height, width = size
    rows = _resize_rows(frames, height, antialias)
    return _resize_rows(rows.swapaxes(1, 2), width, antialias).swapaxes(1, 2)


def to_uint8_size(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 frames [F, Y, X, 3] to (y, x) in uint8, which is what pipelines hand to the device.

    Frames that already have the size are returned untouched. Others are resized exactly (in float32) and then rounded
    and clamped to uint8, which the originals do not do: at most half a grey level per pixel, plus what overshoots.
    """
    if frames.shape[1:3] == tuple(size):
        return frames
    resized = [resize(frame[None].astype(np.float32), size) for frame in frames]
    return np.concatenate([np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in resized])


@functools.lru_cache(maxsize=64)
def resize_matrix(num_in: int, num_out: int, antialias: bool = True) -> np.ndarray:
    """Weights of every input row in every output row: float64 [num_out, num_in], rows summing to one."""
    return (_antialias_matrix if antialias else _plain_matrix)(num_in, num_out)


def _antialias_matrix(num_in: int, num_out: int) -> np.ndarray:
    scale = num_in / num_out
    filter_scale = max(scale, 1.0)
    support = 2.0 * filter_scale
    matrix = np.zeros((num_out, num_in))
    for row in range(num_out):
        centre = (row + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), num_in)
        weights = _keys_kernel((np.arange(first, last) - centre + 0.5) / filter_scale, a=-0.5)
        matrix[row, first:last] = weights / weights.sum()
    return matrix


def _plain_matrix(num_in: int, num_out: int) -> np.ndarray:
    matrix = np.zeros((num_out, num_in))
    for row in range(num_out):
        centre = (row + 0.5) * (num_in / num_out) - 0.5
        taps = int(np.floor(centre)) + np.arange(-1, 3)
        np.add.at(matrix[row], np.clip(taps, 0, num_in - 1), _keys_kernel(taps - centre, a=-0.75))
    return matrix


def _keys_kernel(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel: 1 at 0, 0 at the other integers, zero from distance 2 on."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


@functools.lru_cache(maxsize=256)
def _runs(num_in: int, num_out: int, antialias: bool, dtype: np.dtype) -> tuple[tuple[slice, slice, np.ndarray], ...]:
    """Cuts the matrix into runs of output rows: (output rows, the input rows they need, their weights)."""
    matrix = resize_matrix(num_in, num_out, antialias)
    runs = []
    for start in range(0, num_out, _RUN):
        rows = slice(start, min(start + _RUN, num_out))
        used = np.flatnonzero(matrix[rows].any(0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        runs.append((rows, columns, np.ascontiguousarray(matrix[rows, columns], dtype)))
    return tuple(runs)


def _resize_rows(frames: np.ndarray, num_out: int, antialias: bool) -> np.ndarray:
    """Resizes axis 1 of [F, R, X, C] to ``num_out``."""
    num_frames, num_in, *rest = frames.shape
    flat = np.ascontiguousarray(frames).reshape(num_frames, num_in, -1)
    out = np.empty((num_frames, num_out, flat.shape[-1]), flat.dtype)
    for rows, columns, weights in _runs(num_in, num_out, antialias, flat.dtype):
        np.matmul(weights, flat[:, columns], out=out[:, rows])
    return out.reshape(num_frames, num_out, *rest)
