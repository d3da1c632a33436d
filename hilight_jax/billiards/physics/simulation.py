"""Simulates a shot of pool, from event to event.

Between events every ball follows a path known in closed form (motion.py). The simulation jumps to the earliest next
event, changes the balls that take part (collisions.py), and makes new plans for those only (play.py, contacts.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import cos, hypot, inf, isfinite, sin

import numpy as np

from hilight_jax.billiards.physics.motion import BallState
from hilight_jax.billiards.physics.play import Play
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.physics.trajectory import Shot
from hilight_jax.core.errors import UserError

FASTEST_STRIKE = 15.0  # a hard break, m/s
MISCUE_LIMIT = 0.6  # a tip further off centre slips, ball radii

_DIAMETER = 2 * BALL_RADIUS
_MOST_STEPS = 100_000  # a break takes about 200
_OVERLAP = 1e-6  # balls placed closer than touching by more than this are refused, m


@dataclass(frozen=True)
class Strike:
    """The hit of the cue on a ball.

    Attributes:
        speed: Of the ball just after the hit, m/s.
        angle: Of its direction, from the x axis toward the y axis, radians.
        side: Place of the tip, right of the centre (left if negative), ball radii.
        top: Place of the tip, above the centre (below if negative), ball radii.
        ball: Index of the ball that is hit.
    """

    speed: float
    angle: float
    side: float = 0.0
    top: float = 0.0
    ball: int = 0

    def __post_init__(self):
        if not 0 < self.speed <= FASTEST_STRIKE:
            raise UserError(
                f"A strike's speed of {self.speed} m/s is out of range: give more than 0 and at most {FASTEST_STRIKE}."
            )
        if not isfinite(self.angle):
            raise UserError(f"A strike's angle must be a finite number of radians, not {self.angle}.")
        if not hypot(self.side, self.top) <= MISCUE_LIMIT:
            raise UserError(
                f"A tip {self.side} to the side and {self.top} up would slip off the ball: "
                f"keep sqrt(side^2 + top^2) at or below {MISCUE_LIMIT} ball radii."
            )

    def send(self, x: float, y: float) -> BallState:
        """Returns the ball just after the hit at (x, y) m: off-centre hits spin it."""
        dx, dy = cos(self.angle), sin(self.angle)
        spin = 2.5 * self.speed / BALL_RADIUS  # per ball radius off centre, rad/s
        return BallState(
            x, y, self.speed * dx, self.speed * dy, -spin * self.top * dy, spin * self.top * dx, spin * self.side
        )


def simulate(
    table: Table,
    ball_ids: Sequence[str],
    positions: np.ndarray,
    strike: Strike,
    max_time: float = 30.0,
) -> Shot:
    """Plays one shot until every ball has stopped, or for ``max_time`` s; hardly any shot lasts so long.

    ``ball_ids`` are n distinct names, ``positions`` float [n, 2] the centres of the balls, m.

    Raises:
        UserError: On balls that overlap, lie outside the cloth or over a pocket, or do not match their names.
    """
    positions = np.asarray(positions, float)
    _check(table, ball_ids, positions, strike, max_time)
    play = Play(table, tuple(ball_ids), positions)
    play.strike(strike.ball, strike.send(*positions[strike.ball].tolist()))
    for _ in range(_MOST_STEPS):
        moment = play.next_moment()
        if moment > max_time:
            break
        play.advance(moment)
    else:
        raise RuntimeError(
            f"{strike} from {positions.tolist()} did not settle within {_MOST_STEPS} steps: please report it."
        )
    duration, horizon = (play.now, inf) if moment == inf else (max_time, max_time)
    legs = tuple(tuple(history) for history in play.history)
    return Shot(play.ball_ids, tuple(play.events), duration, horizon, legs)


def _check(table: Table, ball_ids: Sequence[str], positions: np.ndarray, strike: Strike, max_time: float):
    n = len(ball_ids)
    if len(set(ball_ids)) != n:
        raise UserError(f"Every ball needs its own name, but these repeat: {list(ball_ids)}.")
    if positions.shape != (n, 2) or not np.isfinite(positions).all():
        raise UserError(f"{n} balls need finite positions of shape ({n}, 2), not {positions.shape}.")
    if not 0 <= strike.ball < n:
        raise UserError(f"Ball {strike.ball} cannot be struck: there are {n} balls, counted from 0.")
    if not 0 < max_time < inf:
        raise UserError(f"max_time must be a positive number of seconds, not {max_time}.")
    for i in np.flatnonzero(~table.holds(positions)).tolist():
        raise UserError(
            f"Ball {ball_ids[i]!r} at {positions[i].tolist()} m is not on the cloth, clear of cushions and pockets."
        )
    for (a, p), (b, q) in combinations(zip(ball_ids, positions.tolist(), strict=True), 2):
        if hypot(p[0] - q[0], p[1] - q[1]) < _DIAMETER - _OVERLAP:
            raise UserError(f"Balls {a!r} and {b!r} overlap: place their centres at least {_DIAMETER} m apart.")
