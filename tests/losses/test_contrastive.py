"""CLIP-ViP's two contrastive losses on vectors whose losses can be written down."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.shapes import check_shapes
from hilight_jax.losses.contrastive import clamp_log_scale, nce, nce_vsc_fc

# Cross entropy of a positive of logit 1 against one, or two, negatives of logit 0.
ONE_NEGATIVE = math.log(1 + math.exp(-1))
TWO_NEGATIVES = math.log(1 + 2 * math.exp(-1))


def test_nce_sums_both_directions_and_counts_clips():
    mean = check_shapes(nce)(jnp.eye(2), jnp.eye(2), jnp.zeros(()))
    np.testing.assert_allclose(mean.sum, 2 * 2 * ONE_NEGATIVE, rtol=1e-6)
    assert mean.count == 2


def test_the_learned_scale_is_a_logarithm():
    sharp = nce(jnp.eye(2), jnp.eye(2), jnp.log(jnp.float32(3)))
    np.testing.assert_allclose(sharp.value(), 2 * math.log(1 + math.exp(-3)), rtol=1e-6)


def test_vsc_fc_shares_the_negatives_of_the_video_between_subtitles_and_captions():
    eye = jnp.eye(2)
    mean = check_shapes(nce_vsc_fc)(eye, eye, eye, eye, jnp.zeros(()))
    np.testing.assert_allclose(mean.value(), 4 * ONE_NEGATIVE + 2 * TWO_NEGATIVES, rtol=1e-6)


def test_the_own_caption_is_no_negative_of_the_own_subtitle():
    video = subtitle = jnp.eye(2)
    loss = jax.grad(lambda caption: nce_vsc_fc(video, subtitle, caption, caption, jnp.zeros(())).sum)
    with_own = loss(jnp.eye(2))
    assert with_own[0, 0] < 0, "moving a caption towards its own video must lower the loss"


@pytest.mark.parametrize("log_scale", [0.0, 5.298])
def test_one_clip_alone_has_nothing_to_tell_apart(log_scale):
    one = jnp.ones((1, 1))
    assert nce(one, one, jnp.float32(log_scale)).value() == 0
    assert nce_vsc_fc(one, one, one, one, jnp.float32(log_scale)).value() == 0


def test_bfloat16_vectors_are_compared_in_float32():
    random = np.random.default_rng(0)
    video, text = (jnp.asarray(random.normal(size=(4, 8)), jnp.bfloat16) for _ in range(2))
    mean = nce(video, text, jnp.float32(3))
    assert mean.sum.dtype == jnp.float32
    assert mean == nce(video.astype(jnp.float32), text.astype(jnp.float32), jnp.float32(3))


def test_the_scale_stays_between_1_and_200():
    clamped = clamp_log_scale(jnp.array([-1.0, 0.0, 4.6, math.log(200), 6.0]))
    np.testing.assert_allclose(jnp.exp(clamped), [1, 1, math.exp(4.6), 200, 200], rtol=1e-5)
