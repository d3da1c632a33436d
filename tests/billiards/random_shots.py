"""Layouts and strikes for the tests that need many shots."""

import numpy as np

from hilight_jax.billiards.physics import simulation
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table

TABLE = Table()


def layout(rng: np.random.Generator, num_balls: int) -> np.ndarray:
    """float [n, 2], places on the cloth at least a centimetre apart."""
    places = []
    while len(places) < num_balls:
        place = rng.uniform([0.03, 0.03], [TABLE.width - 0.03, TABLE.length - 0.03])
        if all(np.hypot(*(place - other)) > 2 * BALL_RADIUS + 0.01 for other in places):
            places.append(place)
    return np.array(places)


def random_shot(seed: int, max_time: float = 30.0) -> simulation.Shot:
    """The cue ball, aimed roughly at the second of four to nine balls."""
    rng = np.random.default_rng(seed)
    places = layout(rng, int(rng.integers(4, 10)))
    angle = np.arctan2(*(places[1] - places[0])[::-1]) + rng.normal(0, 0.05)
    strike = simulation.Strike(rng.uniform(0.3, 6), angle, rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4))
    return simulation.simulate(TABLE, [f"ball {k}" for k in range(len(places))], places, strike, max_time)


def energy(states) -> np.ndarray:
    """float [T], kinetic energy of all balls per unit of mass, J/kg."""
    return 0.5 * (states.velocities**2).sum((1, 2)) + 0.2 * BALL_RADIUS**2 * (states.spins**2).sum((1, 2))
