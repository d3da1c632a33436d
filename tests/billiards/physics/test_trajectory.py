import numpy as np
import pytest

from hilight_jax.billiards.physics import simulation
from hilight_jax.billiards.physics.table import BALL_RADIUS
from tests.billiards.random_shots import TABLE, random_shot


def test_positions_are_continuous_across_events():
    for seed in range(20):
        shot = random_shot(seed)
        times = np.array([event.time for event in shot.events])
        before, after = shot.states(times - 1e-9), shot.states(times)
        np.testing.assert_allclose(before.positions, after.positions, rtol=0, atol=5e-6)


def test_velocities_are_the_derivatives_of_positions_between_events():
    shot = random_shot(1)
    starts = np.unique([leg.start for legs in shot.legs for leg in legs])
    middles = 0.5 * (starts[1:] + starts[:-1])[np.diff(starts) > 1e-3]
    early, now, late = (shot.states(middles + dt) for dt in (-1e-5, 0, 1e-5))
    np.testing.assert_allclose((late.positions - early.positions) / 2e-5, now.velocities, atol=1e-8)


def test_states_do_not_depend_on_the_order_or_company_of_times():
    shot = random_shot(2)
    times = np.linspace(-0.5, shot.duration + 1, 40)
    together = shot.states(times)
    backward = shot.states(times[::-1])
    for array, reverse in zip(together, backward, strict=True):
        np.testing.assert_array_equal(array, reverse[::-1])
    np.testing.assert_array_equal(shot.states(times[7:8]).positions[0], together.positions[7])


def test_before_the_strike_nothing_moves():
    shot = random_shot(4)
    before, at = shot.states([-1.0]), shot.states([0.0])
    np.testing.assert_array_equal(before.positions, at.positions)
    assert (before.velocities == 0).all() and (before.spins == 0).all()
    assert (at.velocities[0, 0] != 0).any()


def test_a_rolling_ball_turns_by_its_path_over_its_radius():
    shot = simulation.simulate(TABLE, ["cue"], np.array([[0.3, 0.5]]), simulation.Strike(0.3, 0.0, top=0.4))
    end = shot.states([shot.duration]).positions[0, 0]
    turned = shot.orientations([shot.duration], np.eye(3)[None])[0, 0]
    angle = (end[0] - 0.3) / BALL_RADIUS
    cosine, sine = np.cos(angle), np.sin(angle)
    rolled = [[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]  # about y: the top goes forward
    np.testing.assert_allclose(turned, rolled, atol=1e-9)


def test_orientations_agree_with_tiny_steps_to_a_fiftieth_of_a_degree():
    for seed in (0, 6):
        shot = random_shot(seed)
        times = np.linspace(0, min(shot.duration, 3.0), 7)
        n = len(shot.ball_ids)
        initial = np.tile(np.eye(3), (n, 1, 1))
        jumps = [leg.start for legs in shot.legs for leg in legs if leg.start < times[-1]]
        steps = np.unique(np.concatenate([np.linspace(0, times[-1], 12_000), jumps, times]))
        spins = shot.states(0.5 * (steps[1:] + steps[:-1])).spins * np.diff(steps)[:, None, None]
        angle = np.linalg.norm(spins, axis=-1)[..., None, None]
        x, y, z = np.moveaxis(spins / np.maximum(angle[..., 0], 1e-300), -1, 0)
        zero = np.zeros_like(x)
        cross = np.stack([np.stack(row, -1) for row in ([zero, -z, y], [z, zero, -x], [-y, x, zero])], -2)
        turns = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross  # Rodrigues
        turned, expected = initial, [initial]
        for turn, end in zip(turns, steps[1:], strict=True):
            turned = turn @ turned
            if end in times:
                expected.append(turned)
        error = shot.orientations(times, initial) - np.array(expected)
        degrees = np.degrees(np.linalg.norm(error, axis=(-2, -1)) / np.sqrt(2))
        assert degrees.max() < 0.02


def test_orientations_are_rotations_and_start_as_given():
    shot = random_shot(8)
    rng = np.random.default_rng(0)
    initial = np.linalg.qr(rng.normal(size=(len(shot.ball_ids), 3, 3)))[0]
    turned = shot.orientations([0.0, 1.0, shot.duration], initial)
    np.testing.assert_allclose(turned[0], initial, atol=1e-12)
    squares = turned @ np.swapaxes(turned, -1, -2)
    np.testing.assert_allclose(squares, np.broadcast_to(np.eye(3), turned.shape), atol=1e-12)


@pytest.mark.parametrize("times", [[], [2.0, 0.5, 2.0]])
def test_times_may_be_none_repeated_or_unsorted(times):
    shot = random_shot(9)
    n = len(shot.ball_ids)
    assert shot.states(times).positions.shape == (len(times), n, 2)
    turned = shot.orientations(times, np.tile(np.eye(3), (n, 1, 1)))
    assert turned.shape == (len(times), n, 3, 3)
    if times:
        np.testing.assert_array_equal(turned[0], turned[2])
