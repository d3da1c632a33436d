import numpy as np
import pytest

from hilight_jax.billiards.physics.collisions import (
    BALL_RESTITUTION,
    CUSHION_FRICTION,
    collide_balls,
    collide_cushion,
    cushion_restitution,
)
from hilight_jax.billiards.physics.motion import BallState
from hilight_jax.billiards.physics.table import BALL_RADIUS

R = BALL_RADIUS


def energy(*balls: BallState) -> float:
    return sum(0.5 * (b.vx**2 + b.vy**2) + 0.2 * R**2 * (b.wx**2 + b.wy**2 + b.wz**2) for b in balls)


def random_pair(rng: np.random.Generator) -> tuple[BallState, BallState, np.ndarray]:
    """Two touching balls that approach each other, and the unit vector between their centres."""
    angle = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(angle), np.sin(angle)])
    a = BallState(0.3, 0.4, *rng.normal(0, 2, 2), *rng.normal(0, 50, 3))
    b = BallState(0.3 + 2 * R * normal[0], 0.4 + 2 * R * normal[1], *rng.normal(0, 2, 2), *rng.normal(0, 50, 3))
    if (a.vx - b.vx) * normal[0] + (a.vy - b.vy) * normal[1] < 0:
        a, b = a._replace(vx=b.vx, vy=b.vy), b._replace(vx=a.vx, vy=a.vy)
    return a, b, normal


def test_a_head_on_ball_hands_over_its_speed_but_for_the_restitution():
    after, hit, approach = collide_balls(BallState(0, 0, 2, 0, 0, 0, 0), BallState(2 * R, 0, 0, 0, 0, 0, 0))
    assert approach == 2
    assert hit.vx == pytest.approx(2 * (1 + BALL_RESTITUTION) / 2)
    assert after.vx == pytest.approx(2 * (1 - BALL_RESTITUTION) / 2)


def test_momentum_is_conserved_and_the_normal_speed_restored():
    rng = np.random.default_rng(1)
    for _ in range(200):
        a, b, normal = random_pair(rng)
        a2, b2, approach = collide_balls(a, b)
        assert a2.vx + b2.vx == pytest.approx(a.vx + b.vx, abs=1e-12)
        assert a2.vy + b2.vy == pytest.approx(a.vy + b.vy, abs=1e-12)
        departure = (b2.vx - a2.vx) * normal[0] + (b2.vy - a2.vy) * normal[1]
        if approach > 0.01:
            assert departure == pytest.approx(BALL_RESTITUTION * approach)


def test_no_impact_adds_energy():
    rng = np.random.default_rng(2)
    for _ in range(500):
        a, b, normal = random_pair(rng)
        assert energy(*collide_balls(a, b)[:2]) <= energy(a, b)
        toward = -normal if a.vx * normal[0] + a.vy * normal[1] > 0 else normal
        assert energy(collide_cushion(a, *toward)[0]) <= energy(a)


def test_side_spin_throws_the_object_ball():
    """A cue ball spinning anticlockwise, seen from above, drags the ball in front of it to the left."""
    cue = BallState(0, 0, 0, 1, 0, 0, 60)
    _, hit, _ = collide_balls(cue, BallState(0, 2 * R, 0, 0, 0, 0, 0))
    assert hit.vx < -0.01  # the cue ball's front surface moves to -x and pulls the other along
    assert hit.wz < 0  # like two gear wheels


def test_a_cushion_returns_the_normal_speed_times_its_restitution():
    ball = BallState(0.3, R, 0.0, -1.0, 0, 0, 0)
    after, approach = collide_cushion(ball, 0.0, 1.0)
    assert approach == 1
    assert after.vy == pytest.approx(cushion_restitution(1.0))
    assert after.vx == 0


def test_a_cushion_rubs_off_at_most_its_friction_or_the_whole_slip():
    slow = BallState(0.3, R, 0.1, -1.0, 0, 0, 0)
    after, _ = collide_cushion(slow, 0.0, 1.0)
    assert after.vx == pytest.approx(0.1 * 5 / 7)  # the surface sticks: v - 2/7 v
    assert after.vx == pytest.approx(-R * after.wz)
    fast = BallState(0.3, R, 3.0, -1.0, 0, 0, 0)
    after, _ = collide_cushion(fast, 0.0, 1.0)
    assert after.vx == pytest.approx(3.0 - CUSHION_FRICTION * (1 + cushion_restitution(1.0)))
