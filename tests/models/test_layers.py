"""The encoder gives one answer however it is run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.models import layers
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.video_text import DualEncoder
from tests.models import tiny


def outcome(compute: ComputeConfig):
    """Embeddings and gradients of a scalar of them, in float32."""
    config = tiny.config(compute=compute)
    model, params = DualEncoder(config), tiny.params(config)

    def loss(params):
        out = model.apply({"params": params}, tiny.video(), tiny.IDS, tiny.IDS > 0)
        return jnp.sum(jnp.cos(out["video_embeds"] * 3) + out["text_embeds"] ** 3), out["video_embeds"]

    compiled = jax.jit(jax.grad(loss, has_aux=True), compiler_options={"xla_backend_optimization_level": 0})
    gradients, embeds = compiled(params)
    return {"embeds": embeds, **gradients}


@pytest.fixture(scope="module")
def looped():
    return outcome(ComputeConfig())


def assert_close(found, expected, relative):
    """Each leaf within ``relative`` of its absmax, plus that much of a thousandth of the largest leaf."""
    largest = max(np.abs(x).max() for x in jax.tree.leaves(expected))

    def check(found, expected):
        np.testing.assert_allclose(found, expected, atol=relative * (np.abs(expected).max() + 1e-3 * largest), rtol=0)

    jax.tree.map(check, found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"unroll": True},
        {"remat": True},
        {"unroll": True, "remat": True},
        {"remat": True, "remat_keeps": ("qkv", "mixed", "middle", "hidden")},
    ],
    ids=str,
)
def test_unrolling_and_remat_change_neither_outputs_nor_gradients(looped, options):
    assert_close(outcome(ComputeConfig(**options)), looped, 1e-5)


def test_bfloat16_stays_close_and_keeps_float32_parameters(looped):
    half = outcome(ComputeConfig(dtype="bfloat16"))
    assert half["embeds"].dtype == jnp.float32
    assert half["vision"]["encoder"]["layers"]["mlp"]["fc1"]["kernel"].dtype == jnp.float32
    np.testing.assert_allclose(half["embeds"], looped["embeds"], atol=0.05)
    flat = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (half, looped)]
    cosine = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert cosine > 0.995


def test_parameters_are_stacked_whatever_the_compute_options():
    shapes = [tiny.shapes(tiny.config(compute=ComputeConfig(unroll=unroll))) for unroll in (True, False)]
    assert shapes[0] == shapes[1]
    assert shapes[0]["text"]["encoder"]["layers"]["mlp"]["fc2"]["kernel"].shape == (2, 20, 12)


def test_auto_is_float32_on_a_cpu():
    assert ComputeConfig(dtype="auto").dtypes == {"dtype": jnp.float32, "param_dtype": jnp.float32}


def test_layer_norm_epsilon_is_torchs():
    """A spread as small as sqrt(eps) shrinks by sqrt(2)."""
    small = jnp.array([[1.0, -1.0]]) * 1e-5**0.5
    norm = layers.layer_norm(ComputeConfig())
    weights = {"params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)}}
    np.testing.assert_allclose(norm.apply(weights, small), [[0.5**0.5, -(0.5**0.5)]], rtol=1e-5)


def test_quick_gelu_by_hand():
    np.testing.assert_allclose(layers.quick_gelu(jnp.array([0.0, 1.0])), [0.0, 0.8457958], rtol=1e-6)


def test_random_initialisation_follows_clip():
    config = tiny.config(compute=ComputeConfig())
    wide = dataclasses.replace(config.text, width=96, num_heads=3, mlp_dim=192, vocab_size=500)
    config = dataclasses.replace(config, text=wide)
    init = jax.jit(DualEncoder(config).init, compiler_options={"xla_backend_optimization_level": 0})
    params = init(jax.random.key(0), tiny.video(), tiny.IDS)["params"]
    block = params["text"]["encoder"]["layers"]
    for found, expected in {
        "tokens": (params["text"]["token_embedding"], 0.02),
        "positions": (params["text"]["position_embedding"], 0.01),
        "query": (block["self_attn"]["q_proj"]["kernel"], 96**-0.5 * 4**-0.5),
        "out": (block["self_attn"]["out_proj"]["kernel"], 96**-0.5),
        "wide": (block["mlp"]["fc1"]["kernel"], 192**-0.5),
        "narrow": (block["mlp"]["fc2"]["kernel"], 96**-0.5 * 4**-0.5),
    }.values():
        np.testing.assert_allclose(np.std(found), expected, rtol=0.1)
    assert not np.any(block["self_attn"]["k_proj"]["bias"])
    assert not np.any(params["vision"]["embeddings"]["temporal_embedding"])
    layer_0, layer_1 = block["mlp"]["fc1"]["kernel"]
    assert not np.allclose(layer_0, layer_1)
    np.testing.assert_allclose(params["logit_scale"], 4.60)
    np.testing.assert_allclose(params["local"]["scale"], 4.60)
