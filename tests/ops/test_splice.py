"""Video tokens find their rows, sample by sample, and stay on their device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hilight_jax.core.shapes import check_shapes
from hilight_jax.ops import splice as module

splice = check_shapes(module.splice)

TEXT = jnp.arange(1, 11, dtype=jnp.float32).reshape(2, 5, 1)
VIDEO = jnp.array([[[-1], [-2], [-3], [-4]], [[-5], [-6], [-7], [-8]]], jnp.float32)


def test_video_rows_take_their_samples_tokens_in_order():
    is_video = jnp.array([[0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], bool)
    merged = splice(TEXT, VIDEO, is_video)
    np.testing.assert_array_equal(merged[..., 0], [[1, -1, -2, 4, -3], [6, 7, 8, -5, 10]])


def test_text_alone_passes_through():
    nothing = jnp.zeros((2, 5), bool)
    np.testing.assert_array_equal(splice(TEXT, VIDEO, nothing), TEXT)
    np.testing.assert_array_equal(splice(TEXT, VIDEO[:, :0], nothing), TEXT)


def test_only_the_rows_that_were_used_get_gradients():
    is_video = jnp.array([[0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], bool)
    of_text, of_video = jax.grad(lambda *x: jnp.sum(splice(*x, is_video)), argnums=(0, 1))(TEXT, VIDEO)
    np.testing.assert_array_equal(of_text[..., 0], ~is_video)
    np.testing.assert_array_equal(of_video[..., 0], [[1, 1, 1, 0], [1, 0, 0, 0]])


def test_rows_beyond_the_last_token_repeat_it():
    merged = splice(TEXT, VIDEO[:, :2], jnp.ones((2, 5), bool))
    np.testing.assert_array_equal(merged[..., 0], [[-1, -2, -2, -2, -2], [-5, -6, -6, -6, -6]])


def test_text_keeps_its_dtype():
    assert splice(TEXT.astype(jnp.bfloat16), VIDEO, jnp.ones((2, 5), bool)).dtype == jnp.bfloat16


@pytest.mark.skipif(jax.device_count() < 2, reason="one device only")
def test_a_sharded_batch_communicates_nothing():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    place = NamedSharding(mesh, PartitionSpec("data"))

    def gradients(text, video, is_video):
        return jax.grad(lambda *x: jnp.sum(module.splice(*x, is_video) ** 2), argnums=(0, 1))(text, video)

    step = jax.jit(gradients, in_shardings=place, out_shardings=place)
    program = step.lower(TEXT, VIDEO, jnp.ones((2, 5), bool)).compile().as_text()
    found = [name for name in ("all-gather", "all-reduce", "all-to-all", "collective-permute") if name in program]
    assert found == []
