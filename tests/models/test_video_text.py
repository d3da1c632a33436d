"""The dual encoder: what it returns, and how its parameters are split over devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.core.sharding import shardings
from hilight_jax.core.trees import flatten
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.video_text import PARTITION_RULES, DualEncoder, DualEncoderConfig
from tests.models import tiny

EVERY_HEAD = [
    LocalHeadsConfig(levels=()),
    LocalHeadsConfig(),
    LocalHeadsConfig(levels=("all",)),
    LocalHeadsConfig(levels=("embedding", "last"), head="mlp"),
]


def test_embeddings_are_unit_vectors_and_each_side_stands_alone():
    config = tiny.config(local=LocalHeadsConfig(levels=("embedding", "last")))
    model, params = DualEncoder(config), tiny.params(config)

    @jax.jit
    def run(params):
        both = model.apply({"params": params}, tiny.video(), tiny.IDS, tiny.IDS > 0)
        video = model.apply({"params": params}, tiny.video(), method="encode_video")
        text = model.apply({"params": params}, tiny.IDS, tiny.IDS > 0, method="encode_text")
        return both, video | text

    both, apart = run(params)
    np.testing.assert_allclose(np.linalg.norm(both["video_embeds"], axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(both["text_embeds"], axis=-1), 1, atol=1e-6)
    assert set(both) - set(apart) == {"logit_scale", "local_scale"}
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), apart, {k: both[k] for k in apart})
    assert [x.shape for x in both["video_local"]] == [(2, 3, 4, 10)] * 2
    assert [x.shape for x in both["text_local"]] == [(2, 7, 10)] * 2
    assert both["logit_scale"].shape == both["local_scale"].shape == ()


def test_pooled_local_features_add_to_the_embedding():
    config = tiny.config(local=LocalHeadsConfig(levels=("embedding", "last")), pool_local=True)
    model, params = DualEncoder(config), tiny.params(config)
    out = model.apply({"params": params}, tiny.video(), method="encode_video")
    patches = np.asarray(out["video_local"][0])
    largest = (patches / np.linalg.norm(patches, axis=-1, keepdims=True)).max((1, 2))
    whole = out["video_pooled"] @ params["visual_projection"]["kernel"] + largest @ params["local_projection"]["kernel"]
    expected = whole / np.linalg.norm(whole, axis=-1, keepdims=True)
    np.testing.assert_allclose(out["video_embeds"], expected, atol=1e-5)


def test_there_is_nothing_to_pool_without_local_heads():
    with pytest.raises(ConfigError, match="pool_local is set, but model.local.levels is empty"):
        tiny.config(local=LocalHeadsConfig(levels=()), pool_local=True)


@pytest.mark.parametrize("local", EVERY_HEAD, ids=lambda local: "+".join(local.levels) or "none")
def test_every_parameter_of_b16_matches_one_rule_and_divides_over_eight_devices(local):
    mesh = make_mesh(MeshConfig(fsdp=8))
    params = tiny.shapes(DualEncoderConfig(local=local))
    placed = flatten(shardings(params, PARTITION_RULES, mesh))
    split = {path for path, sharding in placed.items() if "fsdp" in str(sharding.spec)}
    large = {path for path, leaf in flatten(params).items() if np.prod(leaf.shape) > 200_000}
    assert large <= split


def test_the_split_model_gives_the_same_embeddings():
    config = dataclasses.replace(tiny.CONFIG, embed_dim=8)
    config = dataclasses.replace(config, text=dataclasses.replace(config.text, width=24, num_heads=3, mlp_dim=16))
    model, params, mesh = DualEncoder(config), tiny.params(config), make_mesh(MeshConfig(fsdp=8))

    def embed(params):
        out = model.apply({"params": params}, jnp.tile(tiny.video(), (4, 1, 1, 1, 1)), jnp.tile(tiny.IDS, (4, 1)))
        return out["video_embeds"], out["text_embeds"]

    fast = {"xla_backend_optimization_level": 0}
    split = jax.device_put(params, shardings(params, PARTITION_RULES, mesh))
    found = jax.jit(embed, compiler_options=fast)(split)
    expected = jax.jit(embed, compiler_options=fast)(params)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), found, expected)
