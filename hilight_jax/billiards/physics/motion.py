"""One ball on the cloth between two events: it slides, rolls, or lies still.

A sliding ball is braked against its slip (the velocity of its lowest point) until it rolls; a rolling ball is braked
against its velocity. Both accelerations are constant, so positions are quadratic and spins linear in time, exactly.
Spin about the vertical axis is braked on its own, down to zero, and moves nothing.
"""

from math import copysign, hypot, inf
from typing import NamedTuple

from hilight_jax.billiards.physics.table import BALL_RADIUS

GRAVITY = 9.81  # m/s^2
SLIDING_FRICTION = 0.2
ROLLING_FRICTION = 0.01
SPIN_DECAY = 10.9  # of the spin about the vertical axis, rad/s^2
AT_REST = 1e-7  # slower slips and velocities count as none, m/s

_SLIDING = SLIDING_FRICTION * GRAVITY
_ROLLING = ROLLING_FRICTION * GRAVITY


class BallState(NamedTuple):
    """A ball at one moment: centre (m), velocity (m/s), spin (rad/s; right-handed, z up)."""

    x: float
    y: float
    vx: float
    vy: float
    wx: float
    wy: float
    wz: float


class Leg(NamedTuple):
    """A stretch of constant acceleration: the state at `start` (s) and its rates.

    ax, ay are m/s^2; bx, by the rates of the spin about the horizontal axes, rad/s^2; on_table is 1, or 0 in a pocket.
    """

    start: float
    x: float
    y: float
    vx: float
    vy: float
    wx: float
    wy: float
    wz: float
    ax: float
    ay: float
    bx: float
    by: float
    on_table: float

    def at(self, time: float) -> BallState:
        """Returns the state at a time (s) not before the start."""
        start, x, y, vx, vy, wx, wy, wz, ax, ay, bx, by, _ = self
        t = time - start
        return BallState(
            x + t * (vx + 0.5 * ax * t),
            y + t * (vy + 0.5 * ay * t),
            vx + ax * t,
            vy + ay * t,
            wx + bx * t,
            wy + by * t,
            copysign(max(abs(wz) - SPIN_DECAY * t, 0.0), wz),
        )

    @property
    def moves(self) -> bool:
        """True if the ball travels (one that spins on the spot does not)."""
        return self.vx != 0 or self.vy != 0 or self.ax != 0 or self.ay != 0


def next_leg(now: float, state: BallState) -> tuple[Leg, float]:
    """Returns the leg that begins in this state, and its duration under friction (s; inf for a ball at rest)."""
    x, y, vx, vy, wx, wy, wz = state
    ux, uy = vx - BALL_RADIUS * wy, vy + BALL_RADIUS * wx  # velocity of the ball's lowest point over the cloth
    slip_speed, speed = hypot(ux, uy), hypot(vx, vy)
    if slip_speed > AT_REST:
        fx, fy = ux / slip_speed, uy / slip_speed
        twist = 2.5 * _SLIDING / BALL_RADIUS
        rates = (-_SLIDING * fx, -_SLIDING * fy, -twist * fy, twist * fx)
        return Leg(now, x, y, vx, vy, wx, wy, wz, *rates, 1.0), slip_speed / (3.5 * _SLIDING)
    if speed > AT_REST:
        ax, ay = -_ROLLING * vx / speed, -_ROLLING * vy / speed
        rates = (ax, ay, -ay / BALL_RADIUS, ax / BALL_RADIUS)
        return Leg(now, x, y, vx, vy, -vy / BALL_RADIUS, vx / BALL_RADIUS, wz, *rates, 1.0), speed / _ROLLING
    return still(now, x, y, wz), inf


def still(now: float, x: float, y: float, wz: float = 0.0) -> Leg:
    """Returns the leg of a ball that does not travel."""
    return Leg(now, x, y, 0.0, 0.0, 0.0, 0.0, wz, 0.0, 0.0, 0.0, 0.0, 1.0)


def pocketed(now: float, x: float, y: float) -> Leg:
    """Returns the leg of a ball that fell at this place."""
    return still(now, x, y)._replace(on_table=0.0)


def without_slip(state: BallState) -> BallState:
    """Returns the state at the end of a leg, free of rounding: the spin of a ball that rolls, or rest."""
    speed = hypot(state.vx, state.vy)
    vx, vy = (state.vx, state.vy) if speed > AT_REST else (0.0, 0.0)
    return state._replace(vx=vx, vy=vy, wx=-vy / BALL_RADIUS, wy=vx / BALL_RADIUS)
