"""Attention against numbers worked out by hand and against one dense mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.shapes import check_shapes
from hilight_jax.ops.attention import attention, causal_attention, proxy_attention

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
