"""Simulates a shot of pool, from event to event.

Between events every ball follows a path known in closed form (motion.py). The simulation jumps to the earliest next
event, changes the balls that take part (collisions.py), and makes new plans for those only (contacts.py). Events are
planned when a ball sets off: its leg ends by friction, at a cushion or in a pocket, or it meets another ball first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import cos, hypot, inf, isfinite, sin

import numpy as np

from hilight_jax.billiards.physics.collisions import SLOW_CONTACT, collide_balls, collide_cushion
from hilight_jax.billiards.physics.contacts import (
    Box,
    Hole,
    Nose,
    Wall,
    ball_contact,
    face,
    obstacles,
    reach,
    table_contact,
)
from hilight_jax.billiards.physics.motion import BallState, Leg, next_leg, pocketed, still, without_slip
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.physics.trajectory import Event, Shot
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


class Play:
    """The balls at the present moment, with the next event of each ball and each pair."""

    def __init__(self, table: Table, ball_ids: tuple[str, ...], positions: np.ndarray, potted: Collection[str]):
        n = len(ball_ids)
        self.table, self.around, self.ball_ids = table, obstacles(table), ball_ids
        self.now = 0.0
        self.events: list[Event] = []
        places = zip(ball_ids, positions.tolist(), strict=True)
        self.legs = [pocketed(0.0, *place) if ball in potted else still(0.0, *place) for ball, place in places]
        self.history = [[leg] for leg in self.legs]
        self.boxes: list[Box] = [reach(leg, inf) for leg in self.legs]
        self.ends = [inf] * n  # when each leg ends by itself, s
        self.targets: list[Wall | Nose | Hole | None] = [None] * n  # the obstacle that ends it; None for friction
        self.meetings = [inf] * (n * n)  # when balls i < j touch, at i n + j, s

    def strike(self, ball: int, state: BallState):
        """Sets a resting ball in motion by the cue."""
        self._record("strike", ball)
        self._set_off({ball: state})

    def next_moment(self) -> float:
        """Returns the time of the next event, s; inf if everything is at rest."""
        return min(min(self.ends), min(self.meetings))

    def advance(self, moment: float):
        """Plays the event at the next moment."""
        self.now = moment
        if moment in self.ends:
            ball = self.ends.index(moment)
            self._end_leg(ball, self.targets[ball])
        else:
            self._collide(*divmod(self.meetings.index(moment), len(self.legs)))

    def _end_leg(self, ball: int, target: Wall | Nose | Hole | None):
        state = self.legs[ball].at(self.now)
        if target is None:
            self._set_off({ball: without_slip(state)})
        elif isinstance(target, Hole):
            self._record("pocket", ball, place=target.name)
            self._follow(ball, pocketed(self.now, state.x, state.y), inf, None)
            self._plan_meetings(ball)
        else:
            name, nx, ny = face(target, state.x, state.y)
            state, approach = collide_cushion(state, nx, ny)
            if approach >= SLOW_CONTACT:
                self._record("cushion", ball, place=name)
            self._set_off({ball: state})

    def _collide(self, i: int, j: int):
        a, b = self.legs[i].at(self.now), self.legs[j].at(self.now)
        nx, ny = b.x - a.x, b.y - a.y
        runner, hit = (i, j) if (a.vx + b.vx) * nx + (a.vy + b.vy) * ny >= 0 else (j, i)
        a, b, approach = collide_balls(a, b)
        if approach >= SLOW_CONTACT:
            self._record("ball_ball", runner, hit)
        self._set_off({i: a, j: b})

    def _set_off(self, states: dict[int, BallState]):
        """Sends balls on their next legs."""
        for ball, state in states.items():
            leg, lasts = next_leg(self.now, state)
            target = None
            if leg.moves:
                lasts, target = table_contact(self.around, leg, lasts)
            elif self.legs[ball].moves:
                pocket = next((pocket.name for pocket in self.table.pockets if pocket.in_jaws((leg.x, leg.y))), None)
                self._record_stop(ball, pocket)
            self._follow(ball, leg, lasts, target)
        for ball in states:
            self._plan_meetings(ball)

    def _follow(self, ball: int, leg: Leg, lasts: float, target: Wall | Nose | Hole | None):
        self.legs[ball] = leg
        self.history[ball].append(leg)
        self.boxes[ball] = reach(leg, lasts)
        self.ends[ball] = self.now + lasts
        self.targets[ball] = target

    def _plan_meetings(self, ball: int):
        """Finds when a ball that has set off would touch each of the others."""
        n = len(self.legs)
        leg, end, (left, right, bottom, top) = self.legs[ball], self.ends[ball], self.boxes[ball]
        for other in range(n):
            if other == ball:
                continue
            meeting, other_leg = inf, self.legs[other]
            low_x, high_x, low_y, high_y = self.boxes[other]
            if (
                low_x - right <= _DIAMETER
                and left - high_x <= _DIAMETER
                and low_y - top <= _DIAMETER
                and bottom - high_y <= _DIAMETER
                and leg.on_table
                and other_leg.on_table
                and (leg.moves or other_leg.moves)
            ):
                limit = min(end, self.ends[other]) - self.now
                meeting = self.now + ball_contact(leg, other_leg, self.now, limit)
            self.meetings[min(ball, other) * n + max(ball, other)] = meeting

    def _record(self, kind: str, *balls: int, place: str | None = None):
        self.events.append(Event(self.now, kind, tuple(self.ball_ids[ball] for ball in balls), place))

    def _record_stop(self, ball: int, pocket: str | None):
        """Records that a ball stopped; it replaces an earlier stop after a push too slow to be recorded."""
        name = self.ball_ids[ball]
        latest = next((event for event in reversed(self.events) if name in event.balls), None)
        if latest is not None and latest.kind in ("rest", "hangs"):
            self.events.remove(latest)
        self._record("hangs" if pocket else "rest", ball, place=pocket)


def simulate(
    table: Table,
    ball_ids: Sequence[str],
    positions: np.ndarray,
    strike: Strike,
    max_time: float = 30.0,
    potted: Collection[str] = (),
) -> Shot:
    """Plays one shot until every ball has stopped, or for ``max_time`` s; hardly any shot lasts so long.

    ``ball_ids`` are n distinct names, ``positions`` float [n, 2] the centres of the balls, m. The balls named in
    ``potted`` have left the table before; their positions may be anywhere.

    Raises:
        UserError: On balls that overlap, lie outside the cloth or over a pocket, or do not match their names.
    """
    positions = np.asarray(positions, float)
    _check(table, ball_ids, positions, strike, max_time, potted)
    play = Play(table, tuple(ball_ids), positions, potted)
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


def _check(
    table: Table,
    ball_ids: Sequence[str],
    positions: np.ndarray,
    strike: Strike,
    max_time: float,
    potted: Collection[str],
):
    n = len(ball_ids)
    if len(set(ball_ids)) != n:
        raise UserError(f"Every ball needs its own name, but these repeat: {list(ball_ids)}.")
    if positions.shape != (n, 2) or not np.isfinite(positions).all():
        raise UserError(f"{n} balls need finite positions of shape ({n}, 2), not {positions.shape}.")
    if not 0 <= strike.ball < n:
        raise UserError(f"Ball {strike.ball} cannot be struck: there are {n} balls, counted from 0.")
    if not set(potted) <= set(ball_ids) or ball_ids[strike.ball] in potted:
        raise UserError(
            f"The potted balls {sorted(potted)} must be among {list(ball_ids)} and must not hold the ball to strike."
        )
    if not 0 < max_time < inf:
        raise UserError(f"max_time must be a positive number of seconds, not {max_time}.")
    present = np.array([ball not in potted for ball in ball_ids])
    for i in np.flatnonzero(present & ~table.holds(positions)).tolist():
        raise UserError(
            f"Ball {ball_ids[i]!r} at {positions[i].tolist()} m is not on the cloth, clear of cushions and pockets."
        )
    on_cloth = [(ball, place) for ball, place in zip(ball_ids, positions.tolist(), strict=True) if ball not in potted]
    for (a, p), (b, q) in combinations(on_cloth, 2):
        if hypot(p[0] - q[0], p[1] - q[1]) < _DIAMETER - _OVERLAP:
            raise UserError(f"Balls {a!r} and {b!r} overlap: place their centres at least {_DIAMETER} m apart.")
