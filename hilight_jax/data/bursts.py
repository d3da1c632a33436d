"""Watches the table of one scene for bursts: the time from the strike of a ball until all balls rest."""

from typing import NamedTuple

import numpy as np

from hilight_jax.data.ball_motion import Blob, arrivals, layout
from hilight_jax.data.ball_tracks import Tracks
from hilight_jax.data.cloth import Cloth, find_cloth
from hilight_jax.data.frame_stream import SmallFrame

REST = 2.0  # Seconds without motion that end a burst.
_LAG = (0.12, 0.3)  # Seconds to the earlier frame that a frame is compared with: nearest and farthest.
_LOOKS_AGAIN = (0.0, 0.25, 1.0)  # Seconds of a scene at which the cloth is looked for; then every `_EVERY`.
_EVERY = 3.0
_RUNNING = 0.25  # Balls that move so soon in a scene moved before it.
_LAYOUT_EVERY = 0.5  # Seconds between two looks at the resting balls.


class Burst(NamedTuple):
    """A burst of motion.

    Attributes:
      start: seconds at which it begins.
      end: seconds at which the last motion was seen.
      is_running: True if the balls moved already when the scene began.
      layout: the balls at rest before it, as far as they were seen.
    """

    start: float
    end: float
    is_running: bool
    layout: list[Blob]


class TableWatch:
    """Looks for bursts in the frames of one scene; only frames of the last third of a second are kept."""

    def __init__(self, start: float):
        """Begins a scene at ``start``, seconds."""
        self._start, self._looks = start, [start + after for after in _LOOKS_AGAIN]
        self._recent: list[SmallFrame] = []
        self.cloth: Cloth | None = None
        self._tracks: Tracks | None = None
        self._burst: Burst | None = None
        self._layout: list[Blob] = []
        self._layout_due = start + _LAG[0]
        self._noise = 2.0

    @property
    def burst(self) -> Burst | None:
        """The burst that goes on, if there is one."""
        return self._burst

    def update(self, frame: SmallFrame) -> Burst | None:
        """Adds a frame; returns a burst that has ended."""
        seconds = frame.seconds
        self._look_for_cloth(frame)
        self._recent = [kept for kept in self._recent if seconds - kept.seconds <= _LAG[1]]
        earlier = next((kept for kept in reversed(self._recent) if seconds - kept.seconds >= _LAG[0]), None)
        if self._recent:
            self._measure_noise(frame.pixels, self._recent[-1].pixels)
        self._recent.append(frame)
        if self.cloth is not None and earlier is not None:
            self._follow(seconds, arrivals(self.cloth, frame.pixels, earlier.pixels, self._noise))
            if self._burst is None and seconds >= self._layout_due:
                self._layout, self._layout_due = layout(self.cloth, earlier.pixels), seconds + _LAYOUT_EVERY
        if self._burst is not None and seconds - self._burst.end > REST:
            return self.close()
        return None

    def close(self) -> Burst | None:
        """Ends the burst that goes on, and returns it."""
        ended, self._burst = self._burst, None
        self._layout_due = 0.0
        return ended

    def _follow(self, seconds: float, blobs: list[Blob]) -> None:
        flying = self._tracks.update(seconds, blobs)
        if not flying:
            return
        first = min(track.times[0] for track in flying)
        if self._burst is None:
            self._burst = Burst(first, seconds, first - self._start <= _RUNNING, self._layout)
        else:
            self._burst = self._burst._replace(start=min(first, self._burst.start), end=seconds)

    def _look_for_cloth(self, frame: SmallFrame) -> None:
        if self._looks and frame.seconds < self._looks[0]:
            return
        self._looks = self._looks[1:] or [frame.seconds + _EVERY]
        self.cloth = find_cloth(frame.pixels) or self.cloth
        if self._tracks is None:
            self._tracks = Tracks(frame.pixels.shape[1])

    def _measure_noise(self, pixels: np.ndarray, before: np.ndarray) -> None:
        """Measures the noise by the median change of a pixel, which is 0.95 standard deviations."""
        change = np.median(np.abs(pixels[::4, ::4, 1].astype(np.int16) - before[::4, ::4, 1]))
        self._noise += 0.1 * (change / 0.95 - self._noise)
