"""The connector's structures and options, and the layout of the expanded frames."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.trees import count, flatten
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.token_mining import TokenMining, cross_attention, expand_frames
from hilight_jax.models.token_mining_config import TokenMiningConfig

SMALL = {"width_video": 6, "width_frames": 4, "width_out": 5}
DUAL = TokenMiningConfig(tokens_per_frame=2, **SMALL)
RNG = np.random.default_rng(0)
CLIP, FRAMES = RNG.normal(size=(2, 7, 6)).astype(np.float32), RNG.normal(size=(2, 3, 4)).astype(np.float32)


# One proxy and three frames of 2 by 2 patches: 13 tokens.
VISION = VisionConfig(
    image_size=4, patch_size=2, width=6, depth=1, num_heads=1, mlp_dim=4, num_frames=3, num_proxy_tokens=1
)
LONG_CLIP = RNG.normal(size=(2, 13, 6)).astype(np.float32)
ALL = {"positions": True, "num_heads": 2, "residual": True, "final_norm": True}
GRID = TokenMiningConfig("grid_pooling", 4, **SMALL)


def build(config):
    model = TokenMining(config, ComputeConfig(), VISION)
    return model, model.init(jax.random.key(0), CLIP, FRAMES)


# One frame of 4 channels, 2 values each: channel c has values 10 c and 10 c + 1.
VALUES = np.array([[[[0, 1], [10, 11], [20, 21], [30, 31]]]])


def test_the_released_expansion_reinterprets_memory():
    np.testing.assert_array_equal(expand_frames(VALUES, "reinterpret"), [[[0, 1, 10, 11], [20, 21, 30, 31]]])


def test_the_transposed_expansion_keeps_channels_apart():
    np.testing.assert_array_equal(expand_frames(VALUES, "transpose"), [[[0, 10, 20, 30], [1, 11, 21, 31]]])


def test_frames_stay_in_order():
    both = np.concatenate([VALUES, VALUES + 100], axis=1)
    assert expand_frames(both, "reinterpret")[0, :, 0].tolist() == [0, 20, 100, 120]


@pytest.mark.parametrize(
    ("structure", "parameters"),
    [("one_linear", 2_105_856), ("two_linear", 6_302_208), ("dual_projector", 6_892_864)],
)
def test_parameters_of_the_full_size_are_as_many_as_the_originals(structure, parameters):
    config = TokenMiningConfig(structure, 32 if structure == "dual_projector" else 1)
    clip, frames = jax.ShapeDtypeStruct((1, 2356, 768), jnp.float32), jax.ShapeDtypeStruct((1, 12, 512), jnp.float32)
    tree = jax.eval_shape(TokenMining(config, ComputeConfig()).init, jax.random.key(0), clip, frames)
    assert count(tree) == parameters


def test_three_frames_become_six_tokens_that_are_never_negative():
    model, params = build(DUAL)
    out = model.apply(params, CLIP, FRAMES)
    assert out["tokens"].shape == (2, 6, 5) and out["attention"].shape == (2, 6, 7)
    assert (out["tokens"] >= 0).all()
    np.testing.assert_allclose(out["attention"].sum(-1), 1, rtol=1e-6)


def test_a_structure_with_one_token_a_frame():
    model, params = build(TokenMiningConfig("one_linear", 1, **SMALL))
    out = model.apply(params, CLIP, FRAMES)
    assert out["tokens"].shape == (2, 3, 5) and (out["tokens"] < 0).any()


def test_clips_do_not_see_each_other():
    model, params = build(DUAL)
    both, first = model.apply(params, CLIP, FRAMES), model.apply(params, CLIP[:1], FRAMES[:1])
    np.testing.assert_allclose(both["tokens"][:1], first["tokens"], rtol=1e-5)


def test_a_token_depends_on_its_own_frame_and_the_clip_only():
    model, params = build(DUAL)
    changed = FRAMES.copy()
    changed[:, 1] += 1
    before, after = (model.apply(params, CLIP, frames)["attention"] for frames in (FRAMES, changed))
    same = np.isclose(before, after).all(axis=(0, 2))
    assert same.tolist() == [True, True, False, False, True, True]


def test_overflowing_scores_stay_finite():
    model, params = build(DUAL)
    huge = jax.tree.map(lambda x: x, params)
    huge["params"]["query"]["norm"]["scale"] = huge["params"]["query"]["norm"]["scale"] * 1e38
    huge["params"]["key"]["norm"]["scale"] = huge["params"]["key"]["norm"]["scale"] * 1e30
    assert np.isfinite(model.apply(huge, CLIP, FRAMES)["attention"]).all()


def test_without_options_the_released_formula_is_exact_to_the_last_bit():
    model, variables = build(DUAL)
    params = variables["params"]

    def linear(x, p):
        return nn.Dense(p["bias"].size).apply({"params": p}, x)

    def norm(x, p):
        return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False).apply({"params": p}, x)

    clip = nn.relu(linear(CLIP, params["video_projector"]))
    frames = nn.relu(linear(FRAMES[..., None], params["frame_expansion"])).reshape(2, 6, 4)
    q, k, v = (
        linear(norm(x, params[name]["norm"]), params[name]["linear"])
        for name, x in (("query", frames), ("key", clip), ("value", clip))
    )
    attention = jax.nn.softmax(jnp.einsum("BVE,BSE->BVS", q, k * 4**-0.5, preferred_element_type=jnp.float32))
    output = params["output"]
    hidden = nn.relu(linear(norm(jnp.einsum("BVS,BSE->BVE", attention, v), output["norm"]), output["fc1"]))
    out = model.apply(variables, CLIP, FRAMES)
    np.testing.assert_array_equal(out["attention"], attention)
    np.testing.assert_array_equal(out["tokens"], nn.relu(linear(hidden, output["fc2"])))


@pytest.mark.parametrize("config", [DUAL, GRID], ids=["released", "grid_pooling"])
def test_fresh_positions_change_nothing(config):
    plain, params = build_long(config)
    placed, fresh = build_long(dataclasses.replace(config, positions=True))
    added = set(flatten(fresh["params"])) - set(flatten(params["params"]))
    asks = ["key", "value"] if config is DUAL else ["value"]
    assert added == {f"{name}/positions/{axis}" for name in asks for axis in ("frame", "row", "column")}
    for name, x in plain.apply(params, LONG_CLIP, FRAMES).items():
        np.testing.assert_array_equal(placed.apply(fresh, LONG_CLIP, FRAMES)[name], x)


def build_long(config):
    """A connector with parameters for clips of whole frames."""
    model = TokenMining(config, ComputeConfig(), VISION)
    return model, model.init(jax.random.key(0), LONG_CLIP, FRAMES)


def test_a_query_that_selects_by_position_mines_the_patch_at_that_position():
    """Keys hold the position alone: one dimension each for frame 1, the upper row and the right column."""
    model, variables = build_long(dataclasses.replace(DUAL, positions=True))
    params = variables["params"]
    params["query"]["linear"] = {"kernel": jnp.zeros((4, 4)), "bias": jnp.full(4, 100.0)}
    params["key"]["linear"] = {"kernel": jnp.zeros((6, 4)), "bias": jnp.zeros(4)}
    places = params["key"]["positions"]
    places["frame"] = places["frame"].at[1, 0].set(1)
    places["row"] = places["row"].at[0, 1].set(1)
    places["column"] = places["column"].at[1, 2].set(1)
    out = model.apply(variables, LONG_CLIP, FRAMES)
    patch = 1 + 1 * 4 + 0 * 2 + 1
    np.testing.assert_allclose(out["attention"], np.broadcast_to(np.eye(13)[patch], (2, 6, 13)), atol=1e-6)
    alone = model.apply(variables, np.repeat(LONG_CLIP[:, [patch]], 13, axis=1), FRAMES)
    np.testing.assert_allclose(out["tokens"], alone["tokens"], atol=1e-5)


def test_a_value_carries_where_its_patch_is():
    """All of a clip's tokens are alike; patches of the right column get an embedding."""
    model, variables = build_long(dataclasses.replace(GRID, positions=True))
    same = np.broadcast_to(LONG_CLIP[:1, :1], (1, 13, 6))
    before = np.asarray(model.apply(variables, same, FRAMES[:1])["tokens"])
    np.testing.assert_allclose(before, np.broadcast_to(before[:, :1], before.shape), rtol=1e-5)
    places = variables["params"]["value"]["positions"]
    places["column"] = places["column"].at[1].set(jnp.array([3.0, -1.0, 0.0, 2.0]))
    left, right = np.asarray(model.apply(variables, same, FRAMES[:1])["tokens"]).reshape(6, 2, 5).swapaxes(0, 1)
    np.testing.assert_allclose(left, before[0, :6], rtol=1e-5)
    assert (np.abs(right - left).max(axis=1) > 0.1).all()


def test_each_head_mines_with_its_own_part_of_the_channels():
    """One query of two heads: the first looks at token 0, the second at token 1."""
    q = jnp.array([[[100.0, 0, 0, 100]]])
    k = jnp.array([[[1.0, 0, 1, 0], [0, 1, 0, 1]]])
    v = jnp.array([[[1.0, 2, 3, 4], [5, 6, 7, 8]]])
    mined, attention = cross_attention(q, k, v, num_heads=2)
    np.testing.assert_allclose(mined, [[[1, 2, 7, 8]]], rtol=1e-6)
    np.testing.assert_allclose(attention, [[[0.5, 0.5]]], rtol=1e-6)


@pytest.mark.parametrize("structure", ["one_linear", "grid_pooling"])
def test_with_a_residual_a_key_frames_features_are_added_to_what_it_mined(structure):
    """Values are zero, so that nothing is mined."""
    model, variables = build_long(TokenMiningConfig(structure, 1, residual=True, **SMALL))
    params = variables["params"]
    params["value"]["linear"] = jax.tree.map(jnp.zeros_like, params["value"]["linear"])
    alone = model.bind(variables).output(FRAMES)
    np.testing.assert_array_equal(model.apply(variables, LONG_CLIP, FRAMES)["tokens"], alone)


def test_with_a_final_norm_tokens_start_as_long_as_a_text_s_embeddings():
    """Gemma's table starts with rows of length 1 on average."""
    model, params = build(dataclasses.replace(DUAL, final_norm=True))
    tokens = model.apply(params, CLIP, FRAMES)["tokens"]
    assert (tokens < 0).any()
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=-1), 1, atol=1e-3)
    np.testing.assert_allclose(tokens.mean(axis=-1), 0, atol=1e-6)


def test_a_grid_averages_the_values_of_each_frame():
    model, variables = build_long(dataclasses.replace(GRID, tokens_per_frame=1))
    assert set(variables["params"]) == {"value", "output"}
    out = model.apply(variables, LONG_CLIP, FRAMES)
    expected = np.zeros((3, 13))
    expected[0, 1:5] = expected[1, 5:9] = expected[2, 9:13] = 0.25
    np.testing.assert_array_equal(out["attention"], np.broadcast_to(expected, (2, 3, 13)))
    bound = model.bind(variables)
    means = bound.value(LONG_CLIP)[:, 1:].reshape(2, 3, 4, 4).mean(axis=2)
    np.testing.assert_allclose(out["tokens"], bound.output(means), atol=1e-5)


@pytest.mark.parametrize("structure", ["dual_projector", "two_linear", "one_linear", "grid_pooling"])
def test_options_compose(structure):
    options = ALL | ({"num_heads": 1} if structure == "grid_pooling" else {})
    tokens = {"dual_projector": 2, "grid_pooling": 4}.get(structure, 1)
    model, params = build_long(TokenMiningConfig(structure, tokens, **options, **SMALL))
    out = model.apply(params, LONG_CLIP, FRAMES)
    assert out["tokens"].shape == (2, 3 * tokens, 5) and out["attention"].shape == (2, 3 * tokens, 13)
    np.testing.assert_allclose(out["attention"].sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"structure": "one_linear"}, "tokens_per_frame is 32, but structure 'one_linear' makes one token"),
        (
            {"structure": "two_linear", "tokens_per_frame": 1, "expansion": "transpose"},
            "expansion is 'transpose', but structure 'two_linear' expands nothing",
        ),
        ({"width_out": 0}, "token_mining.width_out is 0, but must be at least 1"),
        ({"num_heads": 0}, "token_mining.num_heads is 0, but must be at least 1"),
        ({"num_heads": 3}, "token_mining.width_frames is 512, but must be a multiple of token_mining.num_heads=3"),
        ({"final_norm": True, "final_relu": True}, "final_norm and token_mining.final_relu are both True"),
        ({"structure": "grid_pooling"}, "tokens_per_frame is 32, but .* a square, such as 25 or 36"),
        (
            {"structure": "grid_pooling", "tokens_per_frame": 4, "num_heads": 2},
            "num_heads is 2, but structure 'grid_pooling' has no attention",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TokenMiningConfig(**changes)


def test_features_of_another_width_are_refused():
    model, params = build(DUAL)
    with pytest.raises(ConfigError, match=r"frame_features have shape \(2, 3, 3\).*token_mining.width_frames"):
        model.apply(params, CLIP, FRAMES[..., :3])


@pytest.mark.parametrize("config", [dataclasses.replace(DUAL, positions=True), GRID], ids=["positions", "grid_pooling"])
def test_what_needs_the_grid_of_patches_is_refused_without_the_towers_sizes(config):
    with pytest.raises(ConfigError, match="by position needs the sizes of the video tower"):
        TokenMining(config, ComputeConfig()).init(jax.random.key(0), LONG_CLIP, FRAMES)
    with pytest.raises(ConfigError, match="a clip has 7 tokens"):
        build(config)
