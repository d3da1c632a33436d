"""Grouped attention, by hand."""

import jax.numpy as jnp
import numpy as np

from hilight_jax.core.shapes import check_shapes
from hilight_jax.ops.attention import attention
from hilight_jax.ops.grouped_attention import causal_visibility, grouped_attention


def heads(*shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_query_heads_share_key_heads_in_runs():
    """Four query heads, two key heads: heads 0 and 1 read the first, 2 and 3 the second."""
    q, k, v = heads(2, 3, 4, 6, seed=0), heads(2, 5, 2, 6, seed=1), heads(2, 5, 2, 6, seed=2)
    out, weights = check_shapes(grouped_attention)(q, k, v, jnp.ones((2, 3, 5), bool))
    for head in range(4):
        expected = attention(q[:, :, head], k[:, :, head // 2], v[:, :, head // 2])
        np.testing.assert_allclose(out[:, :, head], expected, atol=1e-6)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)


def test_what_is_not_visible_weighs_nothing_and_seeing_nothing_is_finite():
    q, k, v = (heads(1, 2, 1, 4, seed=seed) for seed in range(3))
    visible = jnp.array([[[True, False], [False, False]]])
    out, weights = grouped_attention(q, k, v, visible)
    np.testing.assert_array_equal(weights[0, 0], [[1, 0], [0.5, 0.5]])
    np.testing.assert_allclose(out[0, :, 0], [v[0, 0, 0], v[0, :, 0].mean(0)], rtol=1e-6)


def test_queries_see_real_slots_up_to_their_own():
    """Two new tokens in slots 2 and 3 of 5; the first slot is padding."""
    found = causal_visibility(jnp.array([[False, True, True, True, False]]), jnp.array(2), 2)
    np.testing.assert_array_equal(found, [[[0, 1, 1, 0, 0], [0, 1, 1, 1, 0]]])
