"""CLIP's normalisation, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.core.shapes import CLIP_MEAN
from hilight_jax.models.pixels import normalise


def test_bytes_and_floats_of_the_same_scale_agree_and_are_not_clamped():
    black_white = jnp.array([[0, 0, 0], [255, 255, 255]], jnp.uint8)
    expected = [[-1.7922626, -1.7520971, -1.4802198], [1.9303361, 2.0748837, 2.1458965]]
    np.testing.assert_allclose(normalise(black_white), expected, rtol=1e-6)
    np.testing.assert_array_equal(normalise(black_white.astype(jnp.float32)), normalise(black_white))
    assert normalise(jnp.array([300.0, 0, 0]))[0] > expected[1][0]
    assert normalise(black_white, jnp.bfloat16).dtype == jnp.bfloat16


def test_mean_grey_becomes_zero():
    with jax.enable_x64(True):
        grey = 255 * jnp.ones((1, 2, 2, 3)) * np.array(CLIP_MEAN)
        np.testing.assert_allclose(normalise(grey, jnp.float64), 0, atol=1e-15)
