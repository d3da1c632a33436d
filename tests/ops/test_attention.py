"""Attention against numbers worked out by hand and against one dense mask; grouped heads; rotary positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.ops.attention import (
    attention,
    causal_attention,
    causal_visibility,
    grouped_attention,
    proxy_attention,
    rotary,
)
from tests.shapes import check_shapes

PROXIES, FRAMES, PATCHES = 2, 3, 4
TOKENS = PROXIES + FRAMES * PATCHES


@pytest.fixture
def qkv():
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(2, 3, TOKENS, 5)), jnp.float32) for _ in range(3)]


def test_attention_by_hand():
    """One query of four ones meets keys of zeros and of ln(3)/2: scores 0 and ln 3, weights 1/4 and 3/4."""
    q = jnp.ones((1, 4))
    k = jnp.stack([jnp.zeros(4), jnp.full(4, jnp.log(3.0) / 2)])
    v = jnp.array([[8.0, 0.0], [0.0, 4.0]])
    np.testing.assert_allclose(attention(q, k, v), [[2.0, 3.0]], rtol=1e-6)


def test_shapes_that_do_not_belong_together_are_refused(qkv):
    q, k, v = qkv
    checked = check_shapes(proxy_attention)
    assert checked(q, k, v, num_proxy_tokens=PROXIES, num_frames=FRAMES).shape == q.shape
    with pytest.raises(Exception, match="proxy_attention"):
        checked(q, k[:, :, :-1], v, num_proxy_tokens=PROXIES, num_frames=FRAMES)


def test_patches_see_proxies_and_their_own_frame_and_proxies_see_everything(qkv):
    frame = np.r_[[-1] * PROXIES, np.repeat(np.arange(FRAMES), PATCHES)]
    sees = (frame[:, None] == -1) | (frame[None, :] == -1) | (frame[:, None] == frame[None, :])
    expected = attention(*qkv, bias=jnp.where(sees, 0.0, -jnp.inf))
    found = proxy_attention(*qkv, num_proxy_tokens=PROXIES, num_frames=FRAMES)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_causal_attention_ignores_the_future_and_padding(qkv):
    q, k, v = qkv
    mask = np.ones((2, TOKENS), bool)
    mask[1, 5:] = False
    found = causal_attention(q, k, v, jnp.asarray(mask))
    np.testing.assert_allclose(found[:, :, 0], v[:, :, 0], atol=1e-6)
    changed = v.at[1, :, 5:].set(100.0)
    np.testing.assert_array_equal(causal_attention(q, k, changed, jnp.asarray(mask))[1, :, :5], found[1, :, :5])
    np.testing.assert_allclose(causal_attention(q, k, v)[0], found[0], atol=1e-6)


def test_a_query_that_sees_padding_only_averages_it(qkv):
    q, k, v = qkv
    mask = jnp.ones((2, TOKENS), bool).at[:, :3].set(False)
    found = causal_attention(q, k, v, mask)
    np.testing.assert_allclose(found[:, :, 2], v[:, :, :3].mean(2), atol=1e-6)
    assert np.isfinite(found).all()


def test_bfloat16_scores_are_summed_in_float32(qkv):
    half = [x.astype(jnp.bfloat16) for x in qkv]
    jaxpr = str(jax.make_jaxpr(attention)(*half))
    assert "preferred_element_type=float32" in jaxpr
    found = attention(*half)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), attention(*qkv), atol=0.03)


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
