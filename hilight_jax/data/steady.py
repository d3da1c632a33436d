"""Holds the pictures of a shaking camera still: shifts each one to where the first one of its scene was."""

import numpy as np
from scipy import fft

_MOST = 0.1  # Of the picture's sides: no hand shakes further.
_BETTER = 1.1  # Factor by which another shift must agree better than the present one.


class Steady:
    """Finds by how much a scene's pictures are shifted, by the phases of their spectra."""

    def __init__(self, grey: np.ndarray, scale: int):
        """Takes the first picture, uint8 [y, x], which is ``scale`` times smaller than the frames to be shifted."""
        self._shape, self._scale = grey.shape, scale
        self._window = (np.hanning(grey.shape[0])[:, None] * np.hanning(grey.shape[1])).astype(np.float32)
        self._reference = np.conj(self._spectrum(grey))
        self._shift = (0, 0)

    def shift(self, grey: np.ndarray) -> tuple[int, int]:
        """Returns the rows and columns by which a frame must be moved, pixels of the frame."""
        cross = self._reference * self._spectrum(grey)
        response = fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6), self._shape)
        peak = np.unravel_index(int(response.argmax()), self._shape)
        place = [self._refined(response, peak, axis) for axis in (0, 1)]
        if any(abs(p) > _MOST * size for p, size in zip(place, self._shape, strict=True)):
            return self._shift
        rows, columns = (-round(self._scale * p) for p in place)
        kept = response[tuple(round(-s / self._scale) % n for s, n in zip(self._shift, self._shape, strict=True))]
        near = max(abs(rows - self._shift[0]), abs(columns - self._shift[1])) < self._scale
        if near or response[peak] > _BETTER * kept:
            self._shift = (rows, columns)
        return self._shift

    def _refined(self, response: np.ndarray, peak: tuple, axis: int) -> float:
        """Returns the peak's place along an axis between pixels, by a parabola; negative beyond the middle."""
        size, index = self._shape[axis], int(peak[axis])
        line = np.take(response, peak[1 - axis], 1 - axis)
        before, here, after = line[index - 1], line[index], line[(index + 1) % size]
        bend = before - 2 * here + after
        place = index + (0.5 * (before - after) / bend if bend < 0 else 0.0)
        return place - size if place > size / 2 else place

    def _spectrum(self, grey: np.ndarray) -> np.ndarray:
        values = grey.astype(np.float32)
        return fft.rfft2((values - values.mean()) * self._window)


def moved(pixels: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """Moves a frame by rows and columns; its edges are repeated."""
    if shift == (0, 0):
        return pixels
    rows = np.clip(np.arange(pixels.shape[0]) - shift[0], 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(pixels.shape[1]) - shift[1], 0, pixels.shape[1] - 1)
    return pixels[rows[:, None], columns]
