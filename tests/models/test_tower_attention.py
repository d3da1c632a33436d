import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.models.clip_vip import VideoTower, VisionConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.tower_attention import choose_attention
from hilight_jax.ops.fused_attention import fused_proxy_attention

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

    from hilight_jax.core.mesh import MeshConfig, batch_sharding, make_mesh
    from hilight_jax.core.mesh_context import under_mesh

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
