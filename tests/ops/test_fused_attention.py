"""The kernel in its interpreted form against the plain products; tests/models compiles it for a TPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.mesh import MeshConfig, batch_sharding, make_mesh, under_mesh
from hilight_jax.ops.attention import over_heads, proxy_attention
from hilight_jax.ops.fused_attention import fused_proxy_attention, suits


def draw(shape, seed=0):
    return [jnp.asarray(x, jnp.float32) for x in np.random.default_rng(seed).normal(size=(4, *shape))]


def plain(num_heads, **sizes):
    return over_heads(lambda q, k, v: proxy_attention(q, k, v, **sizes), num_heads)


def fused(num_heads, **sizes):
    return lambda q, k, v: fused_proxy_attention(q, k, v, num_heads=num_heads, interpret=True, **sizes)


def value_and_gradients(attend, operands, gradient):
    def run(*operands):
        out, back = jax.vjp(attend, *operands)
        return out, *back(gradient)

    return jax.jit(run)(*operands)


@pytest.mark.parametrize(
    ("num_proxies", "num_frames", "num_patches", "num_heads", "width"),
    # All frames at once; a single frame; heads that fill the lanes; windows of four frames, and of two.
    [(4, 3, 13, 4, 256), (1, 1, 9, 2, 128), (3, 5, 1, 1, 128), (4, 8, 12, 2, 128), (5, 4, 8, 4, 128)],
)
def test_values_and_gradients_are_those_of_the_plain_products(num_proxies, num_frames, num_patches, num_heads, width):
    sizes = {"num_proxy_tokens": num_proxies, "num_frames": num_frames}
    *operands, gradient = draw((2, num_proxies + num_frames * num_patches, width))
    wanted = value_and_gradients(plain(num_heads, **sizes), operands, gradient)
    found = value_and_gradients(fused(num_heads, **sizes), operands, gradient)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_large_scores_stay_finite():
    q, k, v, gradient = draw((1, 2 + 2 * 4, 128))
    found = value_and_gradients(fused(2, num_proxy_tokens=2, num_frames=2), (q * 300, k * 300, v), gradient)
    assert all(np.isfinite(x).all() for x in found)


def test_on_a_mesh_every_device_keeps_its_own_clips():
    mesh = make_mesh(MeshConfig(fsdp=2))
    q, k, v, gradient = draw((8, 2 + 2 * 4, 128))

    def gradients(attend):
        return jax.jit(under_mesh(mesh, lambda *x: jax.vjp(attend, *x[:3])[1](x[3])), in_shardings=batch_sharding(mesh))

    sizes = {"num_proxy_tokens": 2, "num_frames": 2}
    step = gradients(fused(2, **sizes))
    for ours, theirs in zip(step(q, k, v, gradient), gradients(plain(2, **sizes))(q, k, v, gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert "all-gather" not in step.lower(q, k, v, gradient).compile().as_text()


def test_which_shapes_the_kernel_takes():
    assert suits(2356, 4, 12, 768, 64) and suits(200, 4, 1, 768, 64) and suits(53, 4, 1, 256, 128)
    assert not suits(2356, 4, 12, 768, 96) and not suits(2356, 4, 12, 192, 64)  # Heads must fill the lanes.
    assert not suits(64 * 196 + 4, 4, 64, 768, 64) and not suits(197, 1, 1, 768, 64)
    assert suits(12 * 256 + 4, 4, 12, 768, 64) and not suits(20 * 196 + 4, 4, 20, 768, 64)
    assert not suits(4 * 576 + 4, 4, 4, 768, 64) and not suits(2356, 4, 12, 768, 64, value_bytes=4)
