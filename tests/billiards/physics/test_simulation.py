from math import atan2, hypot, pi

import numpy as np
import pytest

from hilight_jax.billiards.physics import simulation
from hilight_jax.billiards.physics.collisions import BALL_RESTITUTION, cushion_restitution
from hilight_jax.billiards.physics.motion import GRAVITY, ROLLING_FRICTION, SLIDING_FRICTION
from hilight_jax.billiards.physics.table import BALL_RADIUS
from hilight_jax.core.errors import UserError
from tests.billiards.random_shots import TABLE, energy, random_shot

R = BALL_RADIUS
ROLLING_TOP = 0.4  # a tip this far above the centre starts the ball rolling: 5/2 top = 1
UP = pi / 2


def one_ball(place, strike) -> simulation.Shot:
    return simulation.simulate(TABLE, ["cue"], np.array([place]), strike)


def test_a_rolling_ball_stops_after_v_squared_over_two_mu_g():
    shot = one_ball((0.5, 0.2), simulation.Strike(0.4, UP, top=ROLLING_TOP))
    assert [event.kind for event in shot.events] == ["strike", "rest"]
    end = shot.states([shot.duration])
    assert end.positions[0, 0, 1] - 0.2 == pytest.approx(0.4**2 / (2 * ROLLING_FRICTION * GRAVITY))
    assert shot.duration == pytest.approx(0.4 / (ROLLING_FRICTION * GRAVITY))


def test_a_sliding_ball_rolls_at_five_sevenths_of_its_speed():
    shot = one_ball((0.5, 0.2), simulation.Strike(0.7, UP))
    rolls_at = 2 * 0.7 / (7 * SLIDING_FRICTION * GRAVITY)
    before, at, after = (shot.states([rolls_at + dt]) for dt in (-1e-3, 0, 1e-3))
    assert at.velocities[0, 0, 1] == pytest.approx(5 / 7 * 0.7)
    assert at.spins[0, 0, 0] == pytest.approx(-at.velocities[0, 0, 1] / R)
    assert before.velocities[0, 0, 1] - at.velocities[0, 0, 1] == pytest.approx(1e-3 * SLIDING_FRICTION * GRAVITY)
    assert at.velocities[0, 0, 1] - after.velocities[0, 0, 1] == pytest.approx(1e-3 * ROLLING_FRICTION * GRAVITY)


def test_a_stop_shot_leaves_the_cue_ball_where_it_hit():
    """A ball that slides without spin when it hits full on hands over all but (1 - e) / 2 of its speed."""
    gap = 0.1
    # Back spin that friction wipes out just before the impact: R w = v (5/2) top falls by 5/2 mu g t.
    speed, slide = 2.0, SLIDING_FRICTION * GRAVITY
    time = (speed - np.sqrt(speed**2 - 2 * slide * gap)) / slide
    strike = simulation.Strike(speed, UP, top=-slide * time / speed)
    places = np.array([[0.5, 0.4], [0.5, 0.4 + gap + 2 * R]])
    shot = simulation.simulate(TABLE, ["cue", "8"], places, strike)
    hit = shot.events[1]
    assert (hit.kind, hit.balls) == ("ball_ball", ("cue", "8"))
    assert hit.time == pytest.approx(time)
    after = shot.states([hit.time])
    impact_speed = speed - slide * time
    assert after.velocities[0, 0, 1] == pytest.approx(0.5 * (1 - BALL_RESTITUTION) * impact_speed)
    assert after.velocities[0, 1, 1] == pytest.approx(0.5 * (1 + BALL_RESTITUTION) * impact_speed)
    later = shot.states([hit.time + 0.5])
    assert np.hypot(*(later.positions[0, 0] - after.positions[0, 0])) < 0.02


def test_a_ball_comes_back_from_a_cushion_with_the_restitution():
    shot = one_ball((0.5, TABLE.length - R - 0.01), simulation.Strike(1.0, UP))
    strike, cushion = shot.events[:2]
    assert (cushion.kind, cushion.place) == ("cushion", "top")
    before, after = shot.states([cushion.time - 1e-9, cushion.time]).velocities[:, 0, 1]
    assert after == pytest.approx(-cushion_restitution(before) * before, rel=1e-6)


def test_energy_never_increases():
    for seed in range(30):
        shot = random_shot(seed)
        times = np.array([event.time for event in shot.events[1:]])
        around = np.sort(np.concatenate([times - 1e-9, times, np.linspace(0, shot.duration, 200)]))
        assert (np.diff(energy(shot.states(around))) <= 1e-9).all()


def test_balls_never_overlap_nor_enter_cushions():
    for seed in range(100):
        shot = random_shot(seed)
        states = shot.states(np.linspace(0, shot.duration, 300))
        between = states.positions[:, :, None] - states.positions[:, None]
        both = states.on_table[:, :, None] & states.on_table[:, None] & ~np.eye(len(shot.ball_ids), dtype=bool)
        distance = np.where(both, np.hypot(between[..., 0], between[..., 1]), np.inf)
        assert distance.min() > 2 * R - 1e-5
        assert (TABLE.holds(states.positions.reshape(-1, 2)) | ~states.on_table.reshape(-1)).all()


def test_every_shot_ends_with_all_balls_at_rest_or_in_a_pocket():
    for seed in range(100):
        shot = random_shot(seed)
        end = shot.states([shot.duration, shot.duration + 100])
        assert (end.velocities == 0).all()
        assert (end.spins[1] == 0).all()
        pocketed = {event.balls[0] for event in shot.events if event.kind == "pocket"}
        assert pocketed == {ball for ball, there in zip(shot.ball_ids, end.on_table[0], strict=True) if not there}
        moved = {ball for event in shot.events for ball in event.balls}
        stopped = {event.balls[0] for event in shot.events if event.kind in ("rest", "hangs")}
        assert moved == pocketed | stopped
        assert [event.time for event in shot.events] == sorted(event.time for event in shot.events)


def test_a_ball_driven_at_a_pocket_drops_into_it():
    for pocket in TABLE.pockets:
        start = np.array([TABLE.width / 2, TABLE.length / 2])
        dx, dy = pocket.center - start
        shot = one_ball(start, simulation.Strike(1.5, atan2(dy, dx)))
        assert [event.kind for event in shot.events] == ["strike", "pocket"]
        drop = shot.events[-1]
        assert drop.place == pocket.name
        before, after = shot.states([drop.time - 1e-6, drop.time]).on_table[:, 0]
        assert before and not after
        fell_at = shot.states([drop.time]).positions[0, 0]
        assert np.hypot(*(fell_at - pocket.center)) == pytest.approx(pocket.radius)


def test_a_ball_that_stops_in_the_jaws_hangs_until_it_is_knocked_in():
    """On the diagonal a ball falls 23 mm from both nose lines; this one stops 35 mm from them."""
    pocket = next(pocket for pocket in TABLE.pockets if pocket.name == "bottom-left")
    start, goal = np.array([0.3, 0.3]), np.array([0.035, 0.035])
    speed = np.sqrt(2 * ROLLING_FRICTION * GRAVITY * np.hypot(*(goal - start)))
    shot = one_ball(start, simulation.Strike(speed, -3 * pi / 4, top=ROLLING_TOP))
    assert [(event.kind, event.place) for event in shot.events[1:]] == [("hangs", "bottom-left")]
    end = shot.states([shot.duration])
    np.testing.assert_allclose(end.positions[0, 0], goal, atol=1e-9)
    assert end.on_table.all()
    assert np.hypot(*(goal - pocket.center)) > pocket.radius
    both = np.array([start, goal])
    second = simulation.simulate(TABLE, ["cue", "8"], both, simulation.Strike(1.0, -3 * pi / 4))
    assert ("pocket", ("8",), "bottom-left") in [event[1:] for event in second.events]


def test_no_ball_ever_rests_past_a_drop_edge():
    for seed in range(300):
        shot = random_shot(seed)
        end = shot.states([shot.duration])
        for pocket in TABLE.pockets:
            away = np.hypot(*(end.positions[0] - pocket.center).T)
            assert (away[end.on_table[0]] > pocket.radius).all()


def test_top_and_back_spin_follow_and_draw():
    places = np.array([[0.5, 0.4], [0.5, 0.6]])
    follow = simulation.simulate(TABLE, ["cue", "8"], places, simulation.Strike(1.5, UP, top=0.4))
    draw = simulation.simulate(TABLE, ["cue", "8"], places, simulation.Strike(1.5, UP, top=-0.5))
    for shot, sign in ((follow, 1), (draw, -1)):
        hit = shot.events[1].time
        moved = shot.states([hit + 0.4]).positions[0, 0, 1] - shot.states([hit]).positions[0, 0, 1]
        assert sign * moved > 0.02


def test_a_break_of_touching_balls_settles():
    rows = [(0.4953 + (k - row / 2) * 2 * R, 1.4859 + row * np.sqrt(3) * R) for row in range(5) for k in range(row + 1)]
    places = np.array([(0.4953, 0.5), *rows])
    shot = simulation.simulate(TABLE, [str(k) for k in range(16)], places, simulation.Strike(9.0, UP + 0.003))
    assert len({ball for event in shot.events for ball in event.balls}) == 16
    assert (shot.states([shot.duration]).velocities == 0).all()


def test_a_shot_is_deterministic():
    assert random_shot(5).events == random_shot(5).events


def test_an_unfinished_shot_stands_still_at_its_time_limit():
    shot = random_shot(3, max_time=0.5)
    assert shot.duration == 0.5
    assert shot.events[-1].time <= 0.5
    limit, later = shot.states([0.5, 7.0]).positions
    np.testing.assert_array_equal(limit, later)


def small_steps(position, velocity, spin, seconds: float, steps: int = 100_000) -> tuple[float, float]:
    """An integrator that knows nothing of events: friction at the lowest point of the ball, in tiny steps."""
    (x, y), (vx, vy), (wx, wy, _) = position, velocity, spin
    step = seconds / steps
    for _ in range(steps):
        slip_x, slip_y = vx - R * wy, vy + R * wx
        slip, speed = hypot(slip_x, slip_y), hypot(vx, vy)
        if slip > 1e-3:
            ax, ay = -SLIDING_FRICTION * GRAVITY * slip_x / slip, -SLIDING_FRICTION * GRAVITY * slip_y / slip
            wx, wy = wx + 2.5 * ay / R * step, wy - 2.5 * ax / R * step
        else:
            ax, ay = -ROLLING_FRICTION * GRAVITY * vx / speed, -ROLLING_FRICTION * GRAVITY * vy / speed
            wx, wy = -(vy + ay * step) / R, (vx + ax * step) / R
        vx, vy = vx + ax * step, vy + ay * step
        x, y = x + vx * step, y + vy * step
    return x, y


def test_a_curved_path_agrees_with_small_steps_until_the_first_cushion():
    """A cue ball with top spin cuts another ball and bends forward on its way to the right cushion."""
    places = np.array([[0.5, 0.4], [0.47, 0.7]])
    shot = simulation.simulate(TABLE, ["cue", "8"], places, simulation.Strike(2.5, UP, top=0.4))
    hit = next(event for event in shot.events if event.kind == "ball_ball")
    cushion = next(event for event in shot.events if event.kind == "cushion" and event.balls == ("cue",))
    times = np.linspace(hit.time, cushion.time, 5)
    start = [array[0, 0].tolist() for array in shot.states(times)[:3]]
    path = shot.states(times).positions[:, 0]
    chord = path[-1] - path[0]
    away = (path - path[0]) @ np.array([-chord[1], chord[0]]) / np.hypot(*chord)
    assert np.abs(away).max() > 0.02  # it does bend
    for time, place in zip(times[1:], path[1:], strict=True):
        np.testing.assert_allclose(small_steps(*start, time - hit.time), place, atol=1e-4)
    assert path[-1, 0] == pytest.approx(TABLE.width - R, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"speed": 0.0}, "speed of 0.0 m/s is out of range"),
        ({"speed": 40.0}, "at most 15"),
        ({"speed": float("nan")}, "speed of nan"),
        ({"angle": float("inf")}, "finite number of radians"),
        ({"side": 0.5, "top": 0.5}, "slip off the ball"),
    ],
)
def test_an_impossible_strike_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence):
        simulation.Strike(**{"speed": 1.0, "angle": 0.0, **change})


def test_a_potted_ball_is_not_there():
    places = np.array([(0.3, 0.5), (0.5, 0.5), (0.8, 0.5)])
    strike = simulation.Strike(1.0, 0.0)
    whole = simulation.simulate(TABLE, "abc", places, strike)
    without = simulation.simulate(TABLE, "abc", places, strike, potted=("b",))
    met = [next(e.balls for e in shot.events if e.kind == "ball_ball") for shot in (whole, without)]
    assert met == [("a", "b"), ("a", "c")]
    on_table = without.states([-1.0, 0.0, 5.0]).on_table
    assert not on_table[:, 1].any() and on_table[:, [0, 2]].all()


def test_a_potted_ball_may_lie_anywhere_but_is_not_struck():
    places = np.array([(0.3, 0.5), (0.3, 0.5)])
    strike = simulation.Strike(1.0, 0.0)
    assert simulation.simulate(TABLE, "ab", places, strike, potted=("b",)).duration > 0
    for potted in (("a",), ("c",)):
        with pytest.raises(UserError, match="must not hold the ball to strike"):
            simulation.simulate(TABLE, "ab", places, strike, potted=potted)


@pytest.mark.parametrize(
    ("ids", "places", "sentence"),
    [
        (["a", "a"], [(0.3, 0.3), (0.6, 0.6)], "its own name"),
        (["a", "b"], [(0.3, 0.3)], "shape"),
        (["a", "b"], [(0.3, 0.3), (0.33, 0.3)], "'a' and 'b' overlap"),
        (["a", "b"], [(0.3, 0.3), (0.6, 0.01)], "'b' at .* is not on the cloth"),
    ],
)
def test_an_impossible_layout_is_refused_in_a_sentence(ids, places, sentence):
    with pytest.raises(UserError, match=sentence):
        simulation.simulate(TABLE, ids, np.array(places), simulation.Strike(1.0, 0.0))
