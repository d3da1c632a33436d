"""The video tower: sizes, token order, time, the attention kernel, and refusals."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.trees import count
from hilight_jax.models.clip_vip import (
    VideoEmbeddings,
    VideoTower,
    VisionConfig,
    choose_attention,
    interpolate_frames,
    patchify,
)
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.video_text import DualEncoder, DualEncoderConfig
from hilight_jax.ops.fused_attention import fused_proxy_attention
from tests.models import tiny


def test_b16_has_the_parameters_of_the_original_and_2356_tokens():
    """HiLight counts 86,204,161 in its CLIP-ViP tower: vision, its projection and the logit scale."""
    config = DualEncoderConfig()
    params = tiny.shapes(config)
    held = {name: params[name] for name in ("vision", "visual_projection", "logit_scale")}
    assert count(held) == 86_204_161
    video = jax.ShapeDtypeStruct((2, 12, 224, 224, 3), jnp.float32)
    ids = jax.ShapeDtypeStruct((2, 77), jnp.int32)
    out = jax.eval_shape(DualEncoder(config).apply, {"params": params}, video, ids)
    assert out["video_tokens"].shape == (2, 4 + 12 * 196, 768)
    assert out["video_embeds"].shape == out["text_embeds"].shape == (2, 512)
    assert out["video_local"][0].shape == (2, 12, 196, 512)


def test_patches_are_row_major_and_their_pixels_too():
    video = jnp.arange(4 * 6 * 3).reshape(1, 1, 4, 6, 3)
    patches = patchify(video, 2)
    assert patches.shape == (1, 1, 6, 12)
    np.testing.assert_array_equal(patches[0, 0, 0], [0, 1, 2, 3, 4, 5, 18, 19, 20, 21, 22, 23])
    np.testing.assert_array_equal(patches[0, 0, :, 0], [0, 6, 12, 36, 42, 48])


def test_time_is_interpolated_at_half_pixel_centres_without_antialiasing():
    """Worked out by hand: output row i of n reads the table of m rows at (i + 1/2) m / n - 1/2, clamped."""
    table = jnp.array([[0.0], [10.0], [20.0], [40.0]])
    np.testing.assert_allclose(interpolate_frames(table, 1)[:, 0], [15.0])
    np.testing.assert_allclose(interpolate_frames(table[:3], 1)[:, 0], [10.0])
    np.testing.assert_allclose(interpolate_frames(table, 2)[:, 0], [5.0, 30.0])
    np.testing.assert_allclose(interpolate_frames(table, 8)[:, 0], [0, 2.5, 7.5, 12.5, 17.5, 25.0, 35.0, 40.0])
    assert interpolate_frames(table, 4) is table


def test_proxies_share_position_zero_and_take_no_time():
    """Every row of a table holds its own power of ten, so that the sum shows which rows a token took."""
    config = VisionConfig(
        image_size=4, patch_size=2, width=1, depth=1, num_heads=1, mlp_dim=1, num_frames=2, num_proxy_tokens=3
    )
    params = {
        "class_embedding": jnp.array([1.0]),
        "added_cls": jnp.array([[2.0], [3.0]]),
        "position_embedding": jnp.array([[10.0], [20.0], [30.0], [40.0], [50.0]]),
        "temporal_embedding": jnp.array([[100.0], [200.0]]),
        "patch_embedding": {"kernel": jnp.zeros((12, 1))},
    }
    tokens = VideoEmbeddings(config, ComputeConfig()).apply({"params": params}, jnp.zeros((1, 2, 4, 4, 3)))
    np.testing.assert_array_equal(tokens[0, :, 0], [11, 12, 13, 120, 130, 140, 150, 220, 230, 240, 250])


@pytest.mark.parametrize("changes", [{"num_proxy_tokens": 1}, {"temporal_embedding": False}], ids=str)
def test_one_proxy_token_and_no_time_drop_their_parameters(changes):
    config = dataclasses.replace(tiny.VISION, **changes)
    tower = VideoTower(config, ComputeConfig())
    params = jax.eval_shape(tower.init, jax.random.key(0), tiny.video())["params"]
    assert ("added_cls" in params["embeddings"]) == (config.num_proxy_tokens > 1)
    assert ("temporal_embedding" in params["embeddings"]) == config.temporal_embedding


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_any_number_of_frames_and_any_shape_with_as_many_patches(frames):
    tower = VideoTower(tiny.VISION, ComputeConfig())
    video = jax.ShapeDtypeStruct((2, frames, 4, 16, 3), jnp.float32)
    params = jax.eval_shape(tower.init, jax.random.key(0), video)
    out = jax.eval_shape(tower.apply, params, video)
    assert out["tokens"].shape == (2, 2 + 4 * frames, 16)


@pytest.mark.parametrize("shape", [(1, 2, 8, 12, 3), (1, 2, 9, 8, 3), (2, 8, 8, 3)], ids=str)
def test_other_frames_are_refused_in_a_sentence(shape):
    tower = VideoTower(tiny.VISION, ComputeConfig())
    with pytest.raises(ConfigError, match=r"vision.image_size\.|must be \[B, F, Y, X, C\]"):
        jax.eval_shape(tower.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"patch_size": 3}, "vision.image_size is 8, but must be a multiple of vision.patch_size=3"),
        ({"num_heads": 5}, "vision.width is 16, but must be a multiple of vision.num_heads=5"),
        ({"num_proxy_tokens": 0}, "vision.num_proxy_tokens is 0, but must be at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        dataclasses.replace(tiny.VISION, **changes)


SIZES = {"image_size": 16, "patch_size": 8, "width": 128, "depth": 2, "num_heads": 2, "mlp_dim": 64}
FRAMES = np.random.default_rng(0).normal(size=(2, 3, 16, 16, 3)).astype(np.float32)


def both(tower, config, pixels):
    """Outputs and parameter gradients of the plain and of the fused tower, on the same parameters."""
    params = tower(config, ComputeConfig()).init(jax.random.key(0), pixels)
    found = []
    for attention in ("plain", "fused"):
        model = tower(config, ComputeConfig(attention=attention))

        def loss(params, model=model):
            out = model.apply(params, pixels)
            return jnp.sum(jnp.sin(out["pooled"])) + jnp.sum(jnp.cos(out["tokens"])), out["tokens"]

        (_, tokens), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        found.append((tokens, gradients))
    return found


def test_a_fused_tower_is_the_plain_tower():
    plain, fused = both(VideoTower, VisionConfig(**SIZES, num_frames=3, num_proxy_tokens=2), FRAMES)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), fused, plain)


def test_a_cpu_takes_the_plain_products_by_itself():
    assert getattr(choose_attention((2, 14, 128), 2, 2, 3, ComputeConfig()), "func", None) is not fused_proxy_attention


def test_a_shape_that_the_kernel_does_not_take_is_refused_when_it_is_asked_for():
    with pytest.raises(ConfigError, match="14 tokens of width 96 and 2 heads on a cpu are not for the kernel"):
        choose_attention((2, 14, 96), 2, 2, 3, ComputeConfig(attention="fused"))


@pytest.mark.tpu_compiler
def test_on_a_tpu_no_scores_leave_the_chip_and_nothing_is_gathered(tpu_devices):
    from jax.sharding import NamedSharding, PartitionSpec

    from hilight_jax.core.mesh import MeshConfig, batch_sharding, make_mesh, under_mesh

    mesh = make_mesh(MeshConfig(), tpu_devices("v5e:2x2"))
    tower = VideoTower(VisionConfig(**SIZES | {"image_size": 64}, num_frames=3), ComputeConfig(dtype="bfloat16"))
    video = jax.ShapeDtypeStruct((8, 3, 64, 64, 3), jnp.bfloat16, sharding=batch_sharding(mesh))
    shapes = jax.eval_shape(tower.init, jax.random.key(0), video)
    whole = NamedSharding(mesh, PartitionSpec())
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), shapes)

    def loss(params, video):
        return jnp.sum(tower.apply(params, video)["tokens"].astype(jnp.float32))

    program = jax.jit(under_mesh(mesh, jax.grad(loss))).lower(params, video).compile().as_text()
    assert program.count("tpu_custom_call") >= 2  # Forward and backward, each once in a loop over the layers.
    assert "all-gather" not in program
    assert not re.search(r"\[\d+,\d+(,\d+)?,64,6[48]\]", program)  # [B, N, F, P, P] or with M proxies beside.
