"""Rotary positions, by hand."""

import jax.numpy as jnp
import numpy as np

from hilight_jax.ops.rotary import rotary


def test_pairs_are_the_two_halves_and_turn_at_their_own_speed():
    """H = 4, base 100: the first pair turns by 1 a token, the second by 1/10."""
    x = jnp.array([1.0, 0.0, 0.0, 2.0]).reshape(1, 1, 1, 4)
    found = rotary(x, jnp.array([[3]]), 100.0)[0, 0, 0]
    np.testing.assert_allclose(found, [np.cos(3), -2 * np.sin(0.3), np.sin(3), 2 * np.cos(0.3)], rtol=1e-6)


def test_position_0_changes_nothing_and_products_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(rng.normal(size=(1, 1, 2, 6)), jnp.float32) for _ in range(2))
    np.testing.assert_array_equal(rotary(q, jnp.array([[0]]), 10000.0), q)

    def product(i, j):
        return jnp.sum(rotary(q, jnp.array([[i]]), 10000.0) * rotary(k, jnp.array([[j]]), 10000.0), axis=-1)

    np.testing.assert_allclose(product(5, 2), product(105, 102), atol=1e-4)
    assert np.abs(product(5, 2) - product(5, 3)).max() > 1e-2


def test_angles_are_float32_whatever_the_dtype():
    """Position 4097 is not a bfloat16 number."""
    x = jnp.ones((1, 1, 1, 2), jnp.bfloat16)
    found = rotary(x, jnp.array([[4097]]), 10000.0)
    expected = np.array([np.cos(4097) - np.sin(4097), np.cos(4097) + np.sin(4097)])
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found[0, 0, 0].astype(np.float32), expected, atol=5e-3)
