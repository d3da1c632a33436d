"""Impacts and their change of velocities and spins: ball on ball with friction (throw), ball on cushion with spin.

Impulses are instantaneous and per unit of mass (all balls weigh the same). Friction at the contact opposes the slip of
the two surfaces, up to the impulse that would stop it; only its horizontal part changes velocities, since the cloth
carries the rest. The friction between balls is the fit of Alciatore, "Pool and Billiards Physics Principles" (TP
A.14).

A contact slower than SLOW_CONTACT is a push, not a knock: it does not rebound, and the ball is set TOUCH_GAP off what
it pushes. Otherwise a ball whose spin drives it against a cushion would bounce infinitely often in finite time.
"""

from math import exp, hypot

from hilight_jax.billiards.physics.motion import BallState
from hilight_jax.billiards.physics.table import BALL_RADIUS

BALL_RESTITUTION = 0.95
CUSHION_RESTITUTION = 0.85  # of a slow ball; a fast one sinks deeper into the rubber and keeps less
CUSHION_SOFTENING = 0.04  # share of the restitution lost per m/s of approach
CUSHION_STIFFEST = 0.6  # share that is kept at any speed
CUSHION_FRICTION = 0.2
SLOW_CONTACT = 0.005  # m/s
TOUCH_GAP = 2e-6  # m


def ball_friction(slip: float) -> float:
    """Coefficient of friction between two balls whose surfaces slip at this speed (m/s)."""
    return 0.009951 + 0.108 * exp(-1.088 * slip)


def cushion_restitution(approach: float) -> float:
    """Share of the approach speed (m/s) that a cushion gives back."""
    return CUSHION_RESTITUTION * max(CUSHION_STIFFEST, 1 - CUSHION_SOFTENING * approach)


def collide_balls(a: BallState, b: BallState) -> tuple[BallState, BallState, float]:
    """Returns both balls after their impact, and the approach speed along the line of centres in m/s."""
    nx, ny = b.x - a.x, b.y - a.y
    distance = hypot(nx, ny)
    nx, ny = nx / distance, ny / distance
    dvx, dvy = a.vx - b.vx, a.vy - b.vy
    approach = dvx * nx + dvy * ny
    slow = approach < SLOW_CONTACT
    push = 0.5 * (1 + (0.0 if slow else BALL_RESTITUTION)) * max(approach, 0.0)
    # Slip of a's surface over b's: across the line of centres, and upward.
    across = dvy * nx - dvx * ny + BALL_RADIUS * (a.wz + b.wz)
    upward = BALL_RADIUS * ((a.wx + b.wx) * ny - (a.wy + b.wy) * nx)
    slip = hypot(across, upward)
    rub = min(ball_friction(slip) * push / slip, 1 / 7) if slip > 0 else 0.0  # 1 / 7 stops the slip
    jx, jy = push * nx - rub * across * ny, push * ny + rub * across * nx
    twist_x, twist_y, twist_z = _twist(nx, ny, rub * across, rub * upward)
    shift = 0.5 * max(TOUCH_GAP - (distance - 2 * BALL_RADIUS), 0.0) if slow else 0.0
    after_a = BallState(
        a.x - shift * nx, a.y - shift * ny, a.vx - jx, a.vy - jy, a.wx + twist_x, a.wy + twist_y, a.wz + twist_z
    )
    after_b = BallState(
        b.x + shift * nx, b.y + shift * ny, b.vx + jx, b.vy + jy, b.wx + twist_x, b.wy + twist_y, b.wz + twist_z
    )
    return after_a, after_b, approach


def collide_cushion(ball: BallState, nx: float, ny: float) -> tuple[BallState, float]:
    """Returns a ball after its impact on a cushion, and the approach speed in m/s.

    The ball touches at the height of its centre; (nx, ny) is the cushion's unit normal, toward the ball.
    """
    approach = -(ball.vx * nx + ball.vy * ny)
    slow = approach < SLOW_CONTACT
    push = (1 + (0.0 if slow else cushion_restitution(approach))) * max(approach, 0.0)
    across = ball.vy * nx - ball.vx * ny - BALL_RADIUS * ball.wz
    upward = BALL_RADIUS * (ball.wy * nx - ball.wx * ny)
    slip = hypot(across, upward)
    rub = min(CUSHION_FRICTION * push / slip, 2 / 7) if slip > 0 else 0.0  # 2 / 7 stops the slip
    # The impulse -rub * slip acts at -R n, which twists like rub * slip at R n.
    twist_x, twist_y, twist_z = _twist(nx, ny, -rub * across, -rub * upward)
    shift = TOUCH_GAP if slow else 0.0
    after = BallState(
        ball.x + shift * nx,
        ball.y + shift * ny,
        ball.vx + push * nx + rub * across * ny,
        ball.vy + push * ny - rub * across * nx,
        ball.wx + twist_x,
        ball.wy + twist_y,
        ball.wz + twist_z,
    )
    return after, approach


def _twist(nx: float, ny: float, across: float, upward: float) -> tuple[float, float, float]:
    """Change of a solid sphere's spin (rad/s) by the impulse -(across t + upward z) at R n, with t = z x n."""
    scale = -2.5 / BALL_RADIUS
    return scale * upward * ny, -scale * upward * nx, scale * across
