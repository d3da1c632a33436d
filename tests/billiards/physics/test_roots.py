from math import inf

import numpy as np
import pytest

from hilight_jax.billiards.physics.roots import quadratic_closing, quartic_closing


def test_a_gap_that_shrinks_steadily_closes():
    assert quadratic_closing(2.0, -4.0, 0.0, 1e-9, 0.1) == 0.5


def test_only_the_falling_root_of_a_parabola_counts():
    # (t - 1)(t - 3) falls through zero at 1; its negative at 3.
    assert quadratic_closing(3.0, -4.0, 1.0, 1e-9, 0.1) == 1.0
    assert quadratic_closing(-3.0, 4.0, -1.0, 1e-9, 0.1) == pytest.approx(3.0)


def test_a_touching_ball_that_leaves_has_no_contact_until_it_returns():
    assert quadratic_closing(0.0, 1.0, 0.0, 1e-9, 0.1) == inf
    assert quadratic_closing(0.0, 1.0, -1.0, 1e-9, 0.1) == 1.0
    assert quadratic_closing(0.0, -1.0, 0.0, 1e-9, 0.1) == 0.0


def test_quartics_agree_with_numpy_roots():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        d, v, a = rng.normal(size=(3, 2))
        distance = rng.uniform(0, np.hypot(*d))
        gap = (d @ d - distance**2, 2 * d @ v, v @ v + 2 * d @ a, 2 * v @ a, a @ a)
        limit = rng.uniform(0, 4)
        roots = np.roots(gap[::-1])
        real = roots[np.abs(roots.imag) < 1e-9].real
        real = real[(real > 0) & (real <= limit)]
        expected = real.min(initial=inf)
        assert quartic_closing(gap, limit, 0.0) == pytest.approx(expected, rel=1e-9)
        found += expected < inf
    assert found > 300


def test_a_grazing_quartic_does_not_touch():
    # ((t - 0.5)^2 + 1e-6) (t + 1)^2 stays above zero; with - 1e-6 it dips below.
    above = np.polymul([1, -1, 0.25 + 1e-6], [1, 2, 1])[::-1]
    below = np.polymul([1, -1, 0.25 - 1e-6], [1, 2, 1])[::-1]
    assert quartic_closing(tuple(above), 2.0, 0.0) == inf
    assert quartic_closing(tuple(below), 2.0, 0.0) == pytest.approx(0.499, abs=1e-9)
