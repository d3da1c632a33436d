"""The connector's structures, and the layout of the expanded frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.trees import count
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.token_mining import TokenMining, TokenMiningConfig, expand_frames

SMALL = {"width_video": 6, "width_frames": 4, "width_out": 5}
DUAL = TokenMiningConfig(tokens_per_frame=2, **SMALL)
RNG = np.random.default_rng(0)
CLIP, FRAMES = RNG.normal(size=(2, 7, 6)).astype(np.float32), RNG.normal(size=(2, 3, 4)).astype(np.float32)


def build(config):
    model = TokenMining(config, ComputeConfig())
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


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"structure": "one_linear"}, "tokens_per_frame is 32, but structure 'one_linear' makes one token"),
        (
            {"structure": "two_linear", "tokens_per_frame": 1, "expansion": "transpose"},
            "expansion is 'transpose', but structure 'two_linear' expands nothing",
        ),
        ({"width_out": 0}, "token_mining.width_out is 0, but must be at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TokenMiningConfig(**changes)


def test_features_of_another_width_are_refused():
    model, params = build(DUAL)
    with pytest.raises(ConfigError, match=r"frame_features have shape \(2, 3, 3\).*token_mining.width_frames"):
        model.apply(params, CLIP, FRAMES[..., :3])
