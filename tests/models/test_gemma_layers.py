"""Norm and embedding of Gemma, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.models.gemma_layers import RmsNorm, scale_embeds
from hilight_jax.models.layers import ComputeConfig


def test_the_norms_scale_is_an_offset_from_one():
    """The root mean square of (1, 7) is 5."""
    norm = RmsNorm(1e-6, ComputeConfig())
    found = norm.apply({"params": {"scale": jnp.array([0.0, 1.0])}}, jnp.array([1.0, 7.0]))
    np.testing.assert_allclose(found, [0.2, 2.8], rtol=1e-6)


def test_half_precision_rounds_the_normalised_value_before_it_is_scaled():
    norm = RmsNorm(1e-6, ComputeConfig())
    x, variables = jnp.array([1.0, 7.0]), {"params": {"scale": jnp.array([0.5, 0.5])}}
    expected = np.array([0.2, 1.4], np.float16).astype(np.float32) * np.float32(1.5)
    np.testing.assert_array_equal(norm.apply(variables, x, True), expected)
    np.testing.assert_array_equal(norm.apply(variables, x, jnp.array(False)), norm.apply(variables, x))


@pytest.mark.parametrize(("round_scale", "factor"), [(False, 45.254834), (True, 45.25)])
def test_the_embedding_scale_of_2b_in_bfloat16(round_scale, factor):
    x = jnp.linspace(-2, 2, 2048).astype(jnp.bfloat16)
    expected = (x.astype(jnp.float32) * factor).astype(jnp.bfloat16)
    np.testing.assert_array_equal(scale_embeds(x, round_scale).astype(jnp.float32), expected.astype(jnp.float32))


def test_the_two_scales_agree_in_float32():
    x = jnp.linspace(-2, 2, 24)
    np.testing.assert_array_equal(scale_embeds(x, True), scale_embeds(x, False))
