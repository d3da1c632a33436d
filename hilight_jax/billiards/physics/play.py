"""The balls in play, and the planned next event of each.

Events are planned when a ball sets off: its leg ends by friction, at a cushion or in a pocket, or it meets another ball
first. The next event is the earliest plan; only the balls that take part in it get new plans.
"""

from math import inf

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
from hilight_jax.billiards.physics.trajectory import Event

_DIAMETER = 2 * BALL_RADIUS


class Play:
    """The balls at the present moment, with the next event of each ball and each pair."""

    def __init__(self, table: Table, ball_ids: tuple[str, ...], positions: np.ndarray):
        n = len(ball_ids)
        self.table, self.around, self.ball_ids = table, obstacles(table), ball_ids
        self.now = 0.0
        self.events: list[Event] = []
        self.legs = [still(0.0, x, y) for x, y in positions.tolist()]
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
