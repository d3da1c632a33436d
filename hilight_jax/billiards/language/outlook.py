"""Events of a shot that its sampled frames do not show: those after the last frame, and those of a changed shot.

Questions such as "Which ball will be hit next?" and "What if the red ball were not there?" get their truth from here.
The physics gives it; a picture gives at most a good guess.
"""

import dataclasses
from typing import Literal, NamedTuple


class Coming(NamedTuple):
    """An event that no frame shows.

    Attributes:
      kind: 'strike', 'rebound', 'drop' or 'hang', as in `Happening`.
      ball: the ball that acts, as an object name such as 'ball:cue'; of a strike the ball that moves into the other.
      other: the ball, cushion or pocket that it meets, by its object name; None for a place without a name.
    """

    kind: str
    ball: str
    other: str | None


class Alternative(NamedTuple):
    """The same shot with one change, from its beginning until all balls lie still.

    Attributes:
      change: 'without' (one ball is taken off the table first) or 'harder' (the cue ball is struck harder).
      ball: the object name of the ball that is taken away; None for 'harder'.
      events: all events of the changed shot in order of time.
    """

    change: Literal["without", "harder"]
    ball: str | None
    events: tuple[Coming, ...]


@dataclasses.dataclass(frozen=True)
class Outlook:
    """Known events of a shot that its frames do not show.

    Attributes:
      next: the events after the last frame, in order of time, until all balls lie still; empty if nothing more happens,
        None where the world does not look ahead.
      alternatives: the shot with one change each, only where the first frame lies at or before the strike; None where
        the world has none.
    """

    next: tuple[Coming, ...] | None = None
    alternatives: tuple[Alternative, ...] | None = None
