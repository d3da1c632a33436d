"""The text tower: pooling and padding; pixel normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.core.shapes import CLIP_MEAN
from hilight_jax.models.clip import TextConfig, TextTower, normalise
from hilight_jax.models.layers import ComputeConfig
from tests.models import tiny


@pytest.fixture(scope="module")
def encode():
    tower, params = TextTower(tiny.TEXT, ComputeConfig()), tiny.params(tiny.CONFIG)["text"]
    return jax.jit(lambda ids, mask=None: tower.apply({"params": params}, ids, mask))


def test_padding_does_not_change_the_embedding(encode):
    """Neither its amount, nor its id, nor whether a mask hides it."""
    pooled = encode(tiny.IDS, tiny.IDS > 0)["pooled"]
    with_end_id = np.where(tiny.IDS > 0, tiny.IDS, 29)
    longer = np.pad(tiny.IDS, ((0, 0), (0, 2)))
    np.testing.assert_allclose(encode(tiny.IDS)["pooled"], pooled, atol=1e-5)
    np.testing.assert_allclose(encode(with_end_id, tiny.IDS > 0)["pooled"], pooled, atol=1e-5)
    np.testing.assert_allclose(encode(longer, longer > 0)["pooled"], pooled, atol=1e-5)


def test_pooled_is_the_first_largest_id(encode):
    out = encode(np.where(tiny.IDS > 0, tiny.IDS, 29), tiny.IDS > 0)
    np.testing.assert_array_equal(out["pooled"], out["tokens"][jnp.arange(2), jnp.array([4, 2])])


def test_a_text_past_the_table_is_refused():
    tower = TextTower(tiny.TEXT, ComputeConfig())
    with pytest.raises(DataError, match="text_ids are 10 tokens long, but the text tower has 9 positions"):
        jax.eval_shape(tower.init, jax.random.key(0), jnp.zeros((1, 10), jnp.int32))


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="text.width is 512, but must be a multiple of text.num_heads=7"):
        TextConfig(num_heads=7)


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
