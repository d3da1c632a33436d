"""A played shot: its events, and the exact state of every ball at any time.

T times, n balls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.physics.motion import SPIN_DECAY, Leg
from hilight_jax.billiards.physics.rotation import rotations


class Event(NamedTuple):
    """An event of a shot.

    Attributes:
        time: Seconds after the strike.
        kind: 'strike', 'ball_ball', 'cushion', 'pocket', 'hangs' or 'rest'. A ball that stops travelling gives one
            'rest', or one 'hangs' when it stops in the jaws of a pocket without falling; either may be knocked on
            later.
        balls: Names of the balls that take part; of a 'ball_ball' the one that ran into the other comes first.
        place: The cushion of a 'cushion' ('jaw' in a pocket's mouth), the pocket of a 'pocket' or 'hangs', otherwise
            None.
    """

    time: float
    kind: str
    balls: tuple[str, ...]
    place: str | None = None


class States(NamedTuple):
    """The states of all balls at some times.

    Attributes:
        positions: float [T, n, 2], centres on the table, m; a pocketed ball stays where it fell.
        velocities: float [T, n, 2], m/s.
        spins: float [T, n, 3], rad/s, right-handed about (x, y, up).
        on_table: bool [T, n], False from the moment a ball falls.
    """

    positions: np.ndarray
    velocities: np.ndarray
    spins: np.ndarray
    on_table: np.ndarray


@dataclass(frozen=True, eq=False)
class Shot:
    """The course of one shot.

    Attributes:
        ball_ids: Names of the balls, in the order of the arrays.
        events: In order of time.
        duration: Time at which the last ball stopped travelling (it may spin on, on its spot), or the time limit of the
            simulation, s.
        horizon: The time from which states stay as they are: the limit if that was reached, otherwise infinity, s.
        legs: For each ball, its legs in order of time.
    """

    ball_ids: tuple[str, ...]
    events: tuple[Event, ...]
    duration: float
    horizon: float
    legs: tuple[tuple[Leg, ...], ...]

    @cached_property
    def _rows(self) -> np.ndarray:
        """The legs of all balls, ball after ball, float [legs, 13]."""
        return np.array([leg for legs in self.legs for leg in legs])

    def states(self, times: Sequence[float] | np.ndarray) -> States:
        """Returns the exact state of every ball at ``times``, float [T], seconds after the strike, in any order.

        Before the strike the balls lie where they were placed; at an event's own time the state is the one after it.
        """
        times = np.minimum(np.asarray(times, float), self.horizon)
        counts = [len(legs) for legs in self.legs]
        firsts = np.cumsum([0, *counts[:-1]])
        starts = np.split(self._rows[:, 0], firsts[1:])
        index = [np.maximum(np.searchsorted(own, times, side="right") - 1, 0) for own in starts]
        rows = self._rows[firsts + np.stack(index, 1)]
        t = np.maximum(times[:, None] - rows[..., 0], 0)
        moved = t[..., None]
        position, velocity, spin, acceleration, twist = (rows[..., k : k + 2] for k in (1, 3, 5, 8, 10))
        upright = rows[..., 7]
        upright = np.sign(upright) * np.maximum(np.abs(upright) - SPIN_DECAY * t, 0)
        return States(
            position + moved * (velocity + 0.5 * acceleration * moved),
            velocity + acceleration * moved,
            np.concatenate([spin + twist * moved, upright[..., None]], -1),
            rows[..., 12] > 0,
        )

    def orientations(self, times: Sequence[float] | np.ndarray, initial: np.ndarray) -> np.ndarray:
        """Returns the orientation of every ball at ``times`` (s, [T]), its spin integrated from the strike on.

        ``initial``, float [n, 3, 3], turns each ball's own axes into the world's before the strike; the result, float
        [T, n, 3, 3], does so at the times, to about a hundredth of a degree.
        """
        times = np.clip(np.asarray(times, float), 0, self.horizon)
        if not times.any():
            return np.repeat(np.asarray(initial, float)[None], len(times), 0)
        starts = self._rows[:, 0]
        spin_ends = starts + np.abs(self._rows[:, 7]) / SPIN_DECAY
        turned = rotations(lambda moments: self.states(moments).spins, times, np.concatenate([starts, spin_ends]))
        return turned @ np.asarray(initial, float)
