"""What the sampled frames of a shot show: where every ball is seen, and which events can be told from the frames.

Commentary and questions are written from a `Footage` alone, so they never mention what the frames do not show.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

SEEN = 0.5  # A ball is in view in a frame when at least this fraction of its disc is seen.


@dataclasses.dataclass(frozen=True)
class Track:
    """One round object over the sampled frames, in pixels.

    Attributes:
      x: [F] columns of the centre.
      y: [F] rows of the centre.
      radius: [F] radii.
      visible: [F] fractions of the disc that are seen, 0 where it is hidden, outside the image or no longer there.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    visible: np.ndarray

    def seen(self, frame: int) -> bool:
        """Whether the object is in view in a frame."""
        return bool(self.visible[frame] >= SEEN)

    def of(self, index: int) -> "Track":
        """One of several objects whose tracks lie side by side, [F, n]."""
        return Track(*(values[:, index] for values in (self.x, self.y, self.radius, self.visible)))

    def repeated(self, num_frames: int) -> "Track":
        """The track of a fixed thing, known in one frame, over several."""
        return Track(*(np.repeat(values, num_frames) for values in (self.x, self.y, self.radius, self.visible)))


@dataclasses.dataclass(frozen=True)
class Happening:
    """An event of the shot between two sampled frames.

    Attributes:
      kind: 'strike' (ball meets ball), 'rebound' (ball meets cushion), 'drop' (ball falls into a pocket), 'hang' (ball
        stops in a pocket's jaws).
      time: seconds on the clock of the sampled frames.
      ball: the ball that acts, as an object name such as 'ball:3'.
      other: the ball, cushion or pocket that it meets; None for a place that this camera gives no name.
      frame: the last sampled frame before the event; the event lies between it and the next one.
      shown: whether the frames show it.
    """

    kind: str
    time: float
    ball: str
    other: str | None
    frame: int
    shown: bool


@dataclasses.dataclass(frozen=True)
class Footage:
    """A shot as its sampled frames show it.

    Attributes:
      times: [F] seconds of the sampled frames; the first is 0.
      balls: track of every ball of the shot, by object name ('ball:cue', 'ball:3'), whether ever in view or not.
      on_table: [F] per ball, whether it is on the table (not potted).
      positions: [F, 2] per ball, metres on the table's cloth.
      places: tracks of the pockets and cushions in view, by object name ('pocket:top-left', 'cushion:left').
      happenings: everything that happens between the first and the last frame, in order of time.
      stick: track of the cue stick's tip, when the world shows a cue stick.
    """

    times: np.ndarray
    balls: Mapping[str, Track]
    on_table: Mapping[str, np.ndarray]
    positions: Mapping[str, np.ndarray]
    places: Mapping[str, Track]
    happenings: tuple[Happening, ...]
    stick: Track | None = None

    @property
    def last(self) -> int:
        """Index of the last sampled frame."""
        return len(self.times) - 1

    @property
    def shown(self) -> list[Happening]:
        """The happenings that the frames show, in order of time."""
        return [happening for happening in self.happenings if happening.shown]

    def balls_seen(self, frame: int | None = None) -> list[str]:
        """Names of the balls in view in one frame, or in any frame."""
        frames = range(len(self.times)) if frame is None else (frame,)
        return [name for name, track in self.balls.items() if any(track.seen(f) for f in frames)]

    def nothing_hidden(self, frame: int) -> bool:
        """Whether every ball that is on the table in this frame is in view."""
        return all(track.seen(frame) for name, track in self.balls.items() if self.on_table[name][frame])

    def objects(self) -> dict[str, Track]:
        """Everything that has a name and a place in the image: balls, pockets, cushions, cue stick."""
        return {**self.balls, **self.places, **({"cue": self.stick} if self.stick is not None else {})}


def is_shown(kind: str, ball: Track, other: Track | None, potted_after: bool, frame: int) -> bool:
    """Whether frames ``frame`` and ``frame + 1`` show an event between them.

    Args:
      kind: as in `Happening`.
      ball: the acting ball.
      other: what it meets; None when that is not in the image.
      potted_after: whether the acting ball is off the table in the next frame.
      frame: the last frame before the event.
    """
    after = frame + 1
    if not ball.seen(frame):
        return False
    if kind == "strike":
        return other is not None and other.seen(frame) and other.seen(after) and _moves(other, frame, 0.5)
    if kind == "rebound":
        return ball.seen(after) and _moves(ball, frame, 1.0)
    if kind == "hang":
        return ball.seen(after) and other is not None
    return potted_after and other is not None


def _moves(track: Track, frame: int, radii: float) -> bool:
    """Whether an object moves between a frame and the next by at least so many of its radii in the image."""
    step = np.hypot(track.x[frame + 1] - track.x[frame], track.y[frame + 1] - track.y[frame])
    return bool(step >= radii * track.radius[frame])
