"""A shot of pool, from event to event.

Between events every ball follows a path known in closed form (motion.py); the simulation jumps to the earliest next event (a slide
or roll ends, contacts.py finds a contact), changes the balls that take part (collisions.py), and asks again only for those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import cos, hypot, inf, isfinite, sin

import numpy as np

from hilight_jax.billiards.collisions import SLOW_CONTACT, collide_balls, collide_cushion
from hilight_jax.billiards.contacts import Box, Hole, Nose, Wall, ball_contact, face, obstacles, reach, table_contact
from hilight_jax.billiards.motion import BallState, Leg, next_leg, pocketed, still, without_slip
from hilight_jax.billiards.table import BALL_RADIUS, Table
from hilight_jax.billiards.trajectory import Event, Shot
from hilight_jax.core.errors import UserError

FASTEST_STRIKE = 15.0  # a hard break, m/s
MISCUE_LIMIT = 0.6  # a tip further off centre slips, ball radii

_DIAMETER = 2 * BALL_RADIUS
_MOST_STEPS = 100_000  # a break takes about 200
_OVERLAP = 1e-6  # balls placed closer than touching by more than this are refused, m


@dataclass(frozen=True)
class Strike:
    """How the cue hits the ball.

    Attributes:
        speed: Of the ball just after the hit, m/s.
        angle: Of its direction, from the x axis toward the y axis, radians.
        side: Where the tip hits, right of the centre (left if negative), ball radii.
        top: Where the tip hits, above the centre (below if negative), ball radii.
        ball: Index of the ball that is hit.
    """

    speed: float
    angle: float
    side: float = 0.0
    top: float = 0.0
    ball: int = 0

    def __post_init__(self):
        if not 0 < self.speed <= FASTEST_STRIKE:
            raise UserError(f"A strike's speed of {self.speed} m/s is out of range: give more than 0 and at most {FASTEST_STRIKE}.")
        if not isfinite(self.angle):
            raise UserError(f"A strike's angle must be a finite number of radians, not {self.angle}.")
        if not hypot(self.side, self.top) <= MISCUE_LIMIT:
            raise UserError(
                f"A tip {self.side} to the side and {self.top} up would slip off the ball: "
                f"keep sqrt(side^2 + top^2) at or below {MISCUE_LIMIT} ball radii."
            )


def simulate(
    table: Table,
    ball_ids: Sequence[str],
    positions: np.ndarray,
    strike: Strike,
    max_time: float = 30.0,
) -> Shot:
    """Plays one shot until every ball has stopped.

    Args:
        table: Where.
        ball_ids: n distinct names.
        positions: float [n, 2], centres of the balls, m.
        strike: The hit.
        max_time: When to break off, s; hardly any shot lasts so long.

    Returns:
        The shot.

    Raises:
        UserError: On balls that overlap, lie outside the cloth or over a pocket, or do not match their names.
    """
    positions = np.asarray(positions, float)
    _check(table, ball_ids, positions, strike, max_time)
    play = _Play(table, tuple(ball_ids), positions)
    play.strike(strike)
    for _ in range(_MOST_STEPS):
        moment = play.next_moment()
        if moment > max_time:
            break
        play.advance(moment)
    else:
        raise RuntimeError(f"{strike} from {positions.tolist()} did not settle within {_MOST_STEPS} steps: please report it.")
    settled = moment == inf
    legs = tuple(tuple(history) for history in play.history)
    return Shot(play.ball_ids, tuple(play.events), play.now if settled else max_time, inf if settled else max_time, legs)


class _Play:
    """The balls at the present moment, with the next thing that each ball and each pair is heading for."""

    def __init__(self, table: Table, ball_ids: tuple[str, ...], positions: np.ndarray):
        n = len(ball_ids)
        self.table, self.around, self.ball_ids = table, obstacles(table), ball_ids
        self.now = 0.0
        self.events: list[Event] = []
        self.legs = [still(0.0, x, y) for x, y in positions.tolist()]
        self.history = [[leg] for leg in self.legs]
        self.boxes: list[Box] = [reach(leg, inf) for leg in self.legs]
        self.ends = [inf] * n  # when each leg ends by itself, s
        self.targets: list[Wall | Nose | Hole | None] = [None] * n  # what ends it; None for friction
        self.meetings = [inf] * (n * n)  # when balls i < j touch, at i n + j, s

    def strike(self, strike: Strike):
        x, y = self.legs[strike.ball][1:3]
        dx, dy = cos(strike.angle), sin(strike.angle)
        spin = 2.5 * strike.speed / BALL_RADIUS  # per ball radius off centre
        state = BallState(
            x, y, strike.speed * dx, strike.speed * dy, -spin * strike.top * dy, spin * strike.top * dx, spin * strike.side
        )
        self._tell("strike", strike.ball)
        self._set_off({strike.ball: state})

    def next_moment(self) -> float:
        """When something happens next, s; inf if everything is at rest."""
        return min(min(self.ends), min(self.meetings))

    def advance(self, moment: float):
        """Plays what happens at the next moment."""
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
            self._tell("pocket", ball, place=target.name)
            self._remove(ball, state)
        else:
            name, nx, ny = face(target, state.x, state.y)
            state, approach = collide_cushion(state, nx, ny)
            if approach >= SLOW_CONTACT:
                self._tell("cushion", ball, place=name)
            self._set_off({ball: state})

    def _collide(self, i: int, j: int):
        a, b = self.legs[i].at(self.now), self.legs[j].at(self.now)
        nx, ny = b.x - a.x, b.y - a.y
        runner, hit = (i, j) if (a.vx + b.vx) * nx + (a.vy + b.vy) * ny >= 0 else (j, i)
        a, b, approach = collide_balls(a, b)
        if approach >= SLOW_CONTACT:
            self._tell("ball_ball", runner, hit)
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
                self._tell_stop(ball, pocket)
            self._follow(ball, leg, lasts, target)
        for ball in states:
            self._plan_meetings(ball)

    def _remove(self, ball: int, state: BallState):
        self._follow(ball, pocketed(self.now, state.x, state.y), inf, None)
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

    def _tell(self, kind: str, *balls: int, place: str | None = None):
        self.events.append(Event(self.now, kind, tuple(self.ball_ids[ball] for ball in balls), place))

    def _tell_stop(self, ball: int, pocket: str | None):
        """Tells that a ball stopped; a push too slow to be told is not a second stop."""
        name = self.ball_ids[ball]
        latest = next((event for event in reversed(self.events) if name in event.balls), None)
        if latest is not None and latest.kind in ("rest", "hangs"):
            self.events.remove(latest)
        self._tell("hangs" if pocket else "rest", ball, place=pocket)


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
    for i in np.flatnonzero(~table.holds(positions)):
        raise UserError(f"Ball {ball_ids[i]!r} at {positions[i].tolist()} m is not on the cloth, clear of cushions and pockets.")
    for (a, p), (b, q) in combinations(zip(ball_ids, positions.tolist(), strict=True), 2):
        if hypot(p[0] - q[0], p[1] - q[1]) < _DIAMETER - _OVERLAP:
            raise UserError(f"Balls {a!r} and {b!r} overlap: place their centres at least {_DIAMETER} m apart.")
