"""Holds the pictures of a shaking camera still: shifts each one to where the first one of its scene was."""

import numpy as np

from hilight_jax.data.films.scenes import SHRINK, Outline, edges_changed

_MOST = 0.1  # Of the picture's sides: no hand shakes further.
_BETTER = 0.93  # Factor of the difference from the first picture by which another shift must be better.
_LOST = 0.4  # Share of the edges that differ from the first picture's in another place.


class Steady:
    """Finds by how much a scene's pictures are shifted, by the phases of their spectra.

    Attributes:
      is_lost: True if the latest picture does not agree with the first one at any small shift.
    """

    def __init__(self, first: Outline):
        """Takes the scene's first picture."""
        self._first, self._shape = first, first.grey.shape
        self._window = (np.hanning(self._shape[0])[:, None] * np.hanning(self._shape[1])).astype(np.float32)
        self._reference = np.conj(self._spectrum(first.grey))
        self._shift = (0, 0)
        self.is_lost = False

    def shift(self, picture: Outline) -> tuple[int, int]:
        """Returns the rows and columns by which a frame must be moved, pixels of the frame."""
        cross = self._reference * self._spectrum(picture.grey)
        response = np.fft.irfft2(cross / np.sqrt(np.maximum(np.abs(cross), 1e-6)), self._shape)
        peak = np.unravel_index(int(response.argmax()), self._shape)
        place = [self._refined(response, peak, axis) for axis in (0, 1)]
        new = (-round(SHRINK * place[0]), -round(SHRINK * place[1]))
        is_small = all(abs(p) <= _MOST * size for p, size in zip(place, self._shape, strict=True))
        if is_small and new != self._shift and self._error(picture, new) < _BETTER * self._error(picture, self._shift):
            self._shift = new
        self.is_lost = edges_changed(moved_outline(picture, self._shift), self._first) > _LOST
        return self._shift

    def _error(self, picture: Outline, shift: tuple[int, int]) -> float:
        """Returns the mean difference from the first picture at a shift; half pixels are means of two places."""
        low, high = ((np.floor_divide(shift, SHRINK) + up * np.remainder(shift, SHRINK)).tolist() for up in (0, 1))
        places = [moved(picture.grey, (row, column)) for row in {low[0], high[0]} for column in {low[1], high[1]}]
        return float(np.abs(np.mean(places, axis=0) - self._first.grey).mean())

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
        return np.fft.rfft2((values - values.mean()) * self._window)


def moved(pixels: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """Moves a frame by rows and columns; its edges are repeated."""
    if shift == (0, 0):
        return pixels
    rows = np.clip(np.arange(pixels.shape[0]) - shift[0], 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(pixels.shape[1]) - shift[1], 0, pixels.shape[1] - 1)
    return pixels[rows[:, None], columns]


def moved_outline(picture: Outline, shift: tuple[int, int]) -> Outline:
    """Moves the planes of an outline by a shift of the frame."""
    half = (round(shift[0] / SHRINK), round(shift[1] / SHRINK))
    return Outline(picture.cells, *(moved(plane, half) for plane in picture[1:]))
