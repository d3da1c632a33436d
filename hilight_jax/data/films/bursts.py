"""Watches the table of one scene for bursts: the time from the strike of a ball until all balls rest."""

from typing import NamedTuple

import numpy as np

from hilight_jax.data.films.ball_motion import Blob, Motion, has_left, layout, motion
from hilight_jax.data.films.ball_tracks import Tracks
from hilight_jax.data.films.cloth import Cloth, find_cloth
from hilight_jax.data.films.frame_stream import SmallFrame
from hilight_jax.data.films.scenes import Outline, edges_changed
from hilight_jax.data.films.steady import Steady, moved, moved_outline

REST = 2.0  # Seconds without motion that end a burst.
_LAG = (0.12, 0.3)  # Seconds to the earlier frame that a frame is compared with: nearest and farthest.
_LOOKS_AGAIN = (0.0, 0.25, 1.0)  # Seconds of a scene at which the cloth is looked for; then every `_EVERY`.
_EVERY = 3.0
_CAMERA_MOVES = 0.3  # Share of the edges that change while the camera zooms.
_PAN = 0.025  # Of the picture's width: the way between two compared frames while the camera pans.
_RUNNING = 0.25  # Balls that move so soon in a scene moved before it.
_LAYOUT_EVERY = 0.5  # Seconds between two looks at the resting balls.
_JUMP = (1.6, 6.0)  # Diameters by which a ball is elsewhere a moment later: fewest and most.
_FAR, _MANY = 8.0, 30  # Diameters of a flight, and steps of all flights, beyond those of a hand that comes.
_EARLIER = 1.0  # Seconds by which a faint flight may begin before a clear one.
_PAUSE = 0.4  # Seconds between the motion of a hand and a stroke.
_CERTAIN = 6  # Steps of balls in flight that are a stroke where the film cuts before they rest.


class Burst(NamedTuple):
    """A burst of motion.

    Attributes:
      start: seconds at which it begins.
      end: seconds at which the last motion was seen.
      is_running: True if the balls moved already when the scene began.
      is_certain: False if the film cuts before much of it was seen.
      layout: the balls at rest before it, as far as they were seen.
    """

    start: float
    end: float
    is_running: bool
    is_certain: bool
    layout: list[Blob]


class _Held(NamedTuple):
    """A frame that is held still, its outline, and the rows and columns by which it was moved for it."""

    frame: SmallFrame
    picture: Outline
    shift: tuple[int, int]


class TableWatch:
    """Looks for bursts in the frames of one scene; only frames of the last third of a second are kept.

    Attributes:
      cloth: the table's, None while none was found.
      resting: the balls that lay still at the latest look.
    """

    def __init__(self, start: float):
        """Begins a scene at ``start``, seconds."""
        self._start, self._looks = start, [start + after for after in _LOOKS_AGAIN]
        self.cloth: Cloth | None = None
        self.resting: list[Blob] = []
        self._steady: Steady | None = None
        self._recent: list[_Held] = []
        self._tracks: Tracks | None = None
        self._faint_tracks: Tracks | None = None
        self._faint: tuple[float, float] | None = None  # Beginning and latest time of faint flights.
        self._burst: Burst | None = None
        self._steps = 0  # Of balls in flight.
        self._jumped = False  # True if a ball was elsewhere before its flight was seen.
        self._is_struck = False  # True once a flight has set off from a ball at rest.
        self._flown = 0.0  # Diameters of the longest flight.
        self._layout_due = start + _LAG[0]
        self._noise = 2.0

    def update(self, frame: SmallFrame, picture: Outline) -> Burst | None:
        """Adds a frame with its outline; returns a burst that has ended."""
        seconds = frame.seconds
        now = self._held_still(frame, picture)
        frame = now.frame
        self._look_for_cloth(frame)
        if self._recent:
            self._measure_noise(frame.pixels, self._recent[-1].frame.pixels)
        self._recent = [kept for kept in self._recent if seconds - kept.frame.seconds <= _LAG[1]]
        then = next((kept for kept in reversed(self._recent) if seconds - kept.frame.seconds >= _LAG[0]), None)
        self._recent.append(now)
        if self.cloth is None or then is None:
            return None
        if not self._camera_moves(now, then):
            seen = motion(self.cloth, frame.pixels, then.frame.pixels, self._noise)
            self._follow(frame, then.frame, seen)
        if self._burst is None:
            if seconds >= self._layout_due:
                self.resting, self._layout_due = self._look_at_balls(then.frame.pixels), seconds + _LAYOUT_EVERY
        elif seconds - self._burst.end > REST:
            return self._ended(True)
        return None

    def _held_still(self, frame: SmallFrame, picture: Outline) -> _Held:
        if self._steady is None:
            self._steady = Steady(picture)
        shift = self._steady.shift(picture)
        return _Held(SmallFrame(frame.seconds, moved(frame.pixels, shift)), moved_outline(picture, shift), shift)

    def _camera_moves(self, now: _Held, then: _Held) -> bool:
        """Returns True while the camera pans or zooms, when all balls seem to move."""
        way = max(abs(now.shift[0] - then.shift[0]), abs(now.shift[1] - then.shift[1]))
        is_pan = self._steady.is_lost or way > _PAN * now.frame.pixels.shape[1]
        return is_pan or edges_changed(now.picture, then.picture) > _CAMERA_MOVES

    def cut(self) -> Burst | None:
        """Ends the scene; returns the burst that goes on, which is uncertain if little was seen of it."""
        if self.cloth is None:
            return None
        begun = self._tracks.begun()
        if self._burst is None and begun is not None:
            self._burst = Burst(
                begun, self._recent[-1].frame.seconds, begun - self._start <= _RUNNING, False, self.resting
            )
        return self._ended(False)

    def _ended(self, rests: bool) -> Burst | None:
        """Ends the burst that goes on; returns None where all balls rest and lie as before: then a hand moved."""
        ended, self._burst = self._burst, None
        if ended is None:
            return None
        things = self.cloth.things(self._recent[-1].frame.pixels)
        after = layout(self.cloth, things)
        moved = (
            not ended.layout
            or (self._jumped and any(_partner(ball, ended.layout) is None for ball in after))
            or (self._flown >= _FAR and self._steps >= _MANY)
            or any(has_left(ball, self.cloth, things) for ball in ended.layout)
        )
        steps, self._steps, self._flown, self._jumped = self._steps, 0, 0.0, False
        self._layout_due, self.resting = 0.0, after
        if rests and not ended.is_running:
            return ended if moved else None
        return ended._replace(is_certain=steps >= _CERTAIN or (moved and steps > 0))

    def _follow(self, frame: SmallFrame, earlier: SmallFrame, seen: Motion) -> None:
        seconds, blobs = frame.seconds, seen.arrivals
        flying = self._tracks.update(seconds, blobs)
        self._follow_faint(seconds, seen.all)
        setting_off = [track for track in flying if track.sets_off_from(self.resting)]
        if flying:
            first = min(track.times[0] for track in setting_off or flying)
            if self._burst is None and self._faint is not None and self._faint[0] >= first - _EARLIER:
                first = min(first, self._faint[0])
        elif blobs and self._burst is None and self._has_jumped(frame.pixels, earlier.pixels, blobs):
            first, self._jumped = seconds, True
        else:
            return
        self._steps += max(len(flying), 1)
        self._flown = max(self._flown, *(track.flown() for track in flying), 0.0)
        if self._burst is None:
            self._burst = Burst(first, seconds, first - self._start <= _RUNNING, True, self.resting)
            self._is_struck = bool(setting_off)
        elif setting_off and not self._is_struck and first - self._burst.end > _PAUSE:  # A hand moved before.
            self._burst, self._is_struck = self._burst._replace(start=first, end=seconds), True
        else:
            start = min(first, self._burst.start) if setting_off or not self._is_struck else self._burst.start
            self._burst = self._burst._replace(start=start, end=seconds)

    def _follow_faint(self, seconds: float, blobs: list[Blob]) -> None:
        """Notes since when something has flown without a pause that may be too faint to be seen as a ball."""
        flying = self._faint_tracks.update(seconds, blobs)
        if flying:
            first = min(track.times[0] for track in flying)
            goes_on = self._faint is not None and first - self._faint[1] <= _PAUSE
            self._faint = (min(first, self._faint[0]) if goes_on else first, seconds)
        elif self._faint is not None and seconds - self._faint[1] > _PAUSE:
            self._faint = None

    def _has_jumped(self, pixels: np.ndarray, earlier: np.ndarray, blobs: list[Blob]) -> bool:
        """Returns True if a ball that lay still is now a few diameters away: a stroke of few frames."""
        lay, lies = (layout(self.cloth, self.cloth.things(picture)) for picture in (earlier, pixels))
        gone = [ball for ball in self.resting if _partner(ball, lay) and not _partner(ball, lies)]
        return any(
            _JUMP[0] < np.hypot(blob.x - ball.x, blob.y - ball.y) / np.sqrt(ball.area) < _JUMP[1]
            and 0.4 < blob.area / ball.area < 2.5
            for ball in gone
            for blob in blobs
        )

    def _look_at_balls(self, pixels: np.ndarray) -> list[Blob]:
        """Returns the balls at rest: those that are seen, and earlier ones that somebody hides."""
        things = self.cloth.things(pixels)
        seen = layout(self.cloth, things)
        hidden = [
            ball
            for ball in self.resting
            if not has_left(ball, self.cloth, things)
            and not any(abs(ball.x - b.x) + abs(ball.y - b.y) < 2 * np.sqrt(ball.area) for b in seen)
        ]
        return seen + hidden

    def _look_for_cloth(self, frame: SmallFrame) -> None:
        if self._looks and frame.seconds < self._looks[0]:
            return
        self._looks = self._looks[1:] or [frame.seconds + _EVERY]
        self.cloth = find_cloth(frame.pixels) or self.cloth
        if self._tracks is None:
            self._tracks, self._faint_tracks = Tracks(frame.pixels.shape[1]), Tracks(frame.pixels.shape[1])

    def _measure_noise(self, pixels: np.ndarray, before: np.ndarray) -> None:
        """Measures the noise by the median change of a pixel, which is 0.95 standard deviations."""
        change = np.median(np.abs(pixels[::4, ::4, 1].astype(np.int16) - before[::4, ::4, 1]))
        self._noise += 0.1 * (change / 0.95 - self._noise)


def _partner(ball: Blob, balls: list[Blob]) -> Blob | None:
    """Returns the ball of a layout at nearly the same place, if there is one."""
    return next((b for b in balls if np.hypot(ball.x - b.x, ball.y - b.y) < 0.5 * np.sqrt(ball.area)), None)
