"""Footage: the tracks of balls in the sampled frames of a shot, the events that these frames show, and their names.

Commentary and questions are written from a `Footage` alone, so they mention only what the frames show. Objects have
names such as 'ball:3', in words 'the red ball' or, with numbers, 'the red 3-ball'.
"""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from hilight_jax.billiards.language.outlook import Outlook

COLOURS = {1: "yellow", 2: "blue", 3: "red", 4: "purple", 5: "orange", 6: "green", 7: "brown", 8: "black"}
SEEN = 0.5  # A ball is in view in a frame when at least this fraction of its disc is seen.
_STEP = 0.5  # Radii by which a ball must move between two frames for its movement to be seen.
_BEND = 15.0  # Degrees between two steps of a ball for a turn to be seen.


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
        """Returns True if the object is in view in a frame."""
        return bool(self.visible[frame] >= SEEN)

    def of(self, index: int) -> "Track":
        """Returns one of several objects whose tracks lie side by side, [F, n]."""
        return Track(*(values[:, index] for values in (self.x, self.y, self.radius, self.visible)))

    def repeated(self, num_frames: int) -> "Track":
        """Returns the track of a fixed object, given in one frame, over several."""
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
      shown: True if the frames show it.
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
      balls: track of every ball of the shot, in view or not, by object name ('ball:cue', 'ball:3').
      on_table: [F] per ball, True while it is on the table (not potted).
      positions: [F, 2] per ball, metres on the table's cloth.
      places: tracks of the pockets and cushions in view, by object name ('pocket:top-left', 'cushion:left').
      happenings: the events between the first and the last frame, in order of time, without touches of the jaws of a
        pocket.
      jaw_touches: the balls that touch the jaws of a pocket between the first and the last frame.
      stick: track of the cue stick's tip, when the world shows a cue stick.
    """

    times: np.ndarray
    balls: Mapping[str, Track]
    on_table: Mapping[str, np.ndarray]
    positions: Mapping[str, np.ndarray]
    places: Mapping[str, Track]
    happenings: tuple[Happening, ...]
    stick: Track | None = None
    jaw_touches: frozenset[str] = frozenset()
    size: tuple[int, int] | None = None
    cloth: str | None = None
    outlook: Outlook = Outlook()

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
        """Returns True if every ball that is on the table in this frame is in view."""
        return all(track.seen(frame) for name, track in self.balls.items() if self.on_table[name][frame])

    def has_place(self, kind: str) -> bool:
        """Returns True if a 'pocket' or a 'cushion' that has a name is in the picture."""
        return any(name.startswith(f"{kind}:") for name in self.places)

    def objects(self) -> dict[str, Track]:
        """Returns the tracks of all named objects: balls, pockets, cushions, cue stick, and the cloth.

        The cloth, where it is named, is a disc in the middle of the picture: it is in view, but not in one place.
        """
        found = {**self.balls, **self.places, **({"cue": self.stick} if self.stick is not None else {})}
        if self.cloth is not None and self.size is not None:
            (width, height), ones = self.size, np.ones(len(self.times))
            middle = Track(width / 2 * ones, height / 2 * ones, min(width, height) / 4 * ones, ones)
            found[f"cloth:{self.cloth}"] = middle
        return found


def is_shown(
    kind: str,
    ball: Track,
    other: Track | None,
    frame: int,
    *,
    potted: bool = False,
    at_rest: bool = True,
    sole_cause: bool = True,
) -> bool:
    """Returns True if the frames around an event between ``frame`` and ``frame + 1`` show it.

    A strike is shown by a ball at rest that has moved in the next frame, its striker still in view; a rebound by a ball
    that turns, over three frames, at a cushion in the picture; a drop by a ball that is gone in the next frame.

    Args:
      kind: as in `Happening`.
      ball: the acting ball.
      other: the object that it meets; None if that is not in the image.
      frame: the last frame before the event.
      potted: True if the acting ball is off the table in the next frame.
      at_rest: of a strike, True if the struck ball lies still in ``frame``.
      sole_cause: True if nothing else between the two frames would explain what they show: of a strike, no earlier
        strike of the struck ball; of a rebound, no other contact of the ball.
    """
    after = frame + 1
    if other is None or not ball.seen(frame):
        return False
    if kind == "drop":
        return potted
    if not ball.seen(after) and not (kind == "strike" and potted):
        return False
    if kind == "strike":
        return at_rest and sole_cause and other.seen(frame) and other.seen(after) and _moves(other, frame)
    if kind == "rebound":
        return sole_cause and frame > 0 and ball.seen(frame - 1) and _turns(ball, frame)
    return True


def _step(track: Track, frame: int) -> np.ndarray:
    """Returns the step of an object in the image from a frame to the next, in its radii [2]."""
    way = (track.x[frame + 1] - track.x[frame], track.y[frame + 1] - track.y[frame])
    return np.array(way) / track.radius[frame]


def _moves(track: Track, frame: int) -> bool:
    return bool(np.hypot(*_step(track, frame)) >= _STEP)


def _turns(track: Track, frame: int) -> bool:
    """Returns True if an object arrives at its place in a frame from one direction and leaves it in another."""
    coming, going = _step(track, frame - 1), _step(track, frame)
    lengths = np.hypot(*coming), np.hypot(*going)
    return bool(min(lengths) >= _STEP and coming @ going <= np.cos(np.radians(_BEND)) * lengths[0] * lengths[1])


def ball_object(ball_id: str) -> str:
    """Returns the object name of a ball: '3' becomes 'ball:3'."""
    return f"ball:{ball_id}"


def phrase(name: str, numbers: bool) -> str:
    """Returns the words for an object: 'ball:cue', 'ball:11', 'pocket:top-left', 'cushion:left' or 'cue' (the stick).

    With ``numbers`` balls have colour and number; without, only the cue ball and the solids 1 to 8 have a name.
    """
    kind, _, which = name.partition(":")
    if kind == "cue":
        return "the cue"
    if kind in ("pocket", "cushion"):
        return f"the {which} {kind}"
    if which == "cue":
        return "the cue ball"
    number = int(which)
    if not numbers:
        return f"the {COLOURS[number]} ball"
    return f"the {COLOURS[number]} {number}-ball" if number <= 8 else f"the {COLOURS[number - 8]}-striped {number}-ball"


@dataclasses.dataclass(frozen=True)
class Namer:
    """Returns the words for objects in one world.

    Attributes:
      numbers: call balls by colour and number, as in `Style.numbers`.
      pool: ids of the object balls that clips of this world may show.
    """

    numbers: bool
    pool: tuple[str, ...]

    def __call__(self, name: str) -> str:
        """Returns the words for an object."""
        return phrase(name, self.numbers)

    def form(self, name: str, form: str) -> str:
        """Returns words for an object in the form 'full', 'bare', 'one' or 'short'.

        These are 'the red ball', 'red ball', 'the red one' and 'red'; with numbers 'the red 3-ball', 'red 3-ball', 'the
        3-ball' and '3-ball'.
        """
        full, (kind, _, which) = phrase(name, self.numbers), name.partition(":")
        if form == "full" or kind == "cue":
            return full
        if form == "bare":
            return full.removeprefix("the ")
        if kind != "ball":
            words = full.replace("-", " ")
            return words if form == "one" else words.removeprefix("the ")
        if which == "cue":
            return "the white ball" if form == "one" else "cue ball"
        if self.numbers:
            return f"the {which}-ball" if form == "one" else f"{which}-ball"
        return f"the {COLOURS[int(which)]} one" if form == "one" else COLOURS[int(which)]


def count_tokens(text: str) -> int:
    """Estimates the CLIP tokens of a text: one per word, digit and run of punctuation, and the two at the ends."""
    return len(re.findall(r"[A-Za-z]+|\d|[^\sA-Za-z\d]+", text)) + 2
