"""The tapped levels, their weights, and the heads' first values."""

import jax
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.trees import flatten
from hilight_jax.models.local_heads import LocalHeadsConfig, init_local_from_projections, level_pairs, level_weights
from hilight_jax.models.video_text import DualEncoder
from tests.models import tiny


def test_level_weights_of_setting_4_rise_from_a_tenth_to_one_before_division():
    weights = level_weights(LocalHeadsConfig(("all",)), 4, 4)
    np.testing.assert_allclose(weights, np.array([0.1, 0.4, 0.7, 1.0]) / 2.2)
    np.testing.assert_allclose(weights, np.linspace(0.1, 1, 4) / np.linspace(0.1, 1, 4).sum())
    assert level_weights(LocalHeadsConfig(("embedding", "last")), 4, 4) == (0.5, 0.5)
    assert level_weights(LocalHeadsConfig(("last",)), 12, 12) == (1.0,)
    assert level_weights(LocalHeadsConfig(("all",)), 1, 1) == (1.0,)
    assert level_weights(LocalHeadsConfig(("all",), rising=False), 4, 4) == (0.25, 0.25, 0.25, 0.25)
    assert level_weights(LocalHeadsConfig(()), 4, 4) == ()


def test_even_weights_are_about_every_block():
    with pytest.raises(ConfigError, match="local.rising is False, which is about levels"):
        LocalHeadsConfig(("last",), rising=False)


def test_levels_of_unequal_towers_meet_at_the_nearest_relative_depth():
    assert level_pairs(("all",), 3, 3) == ((1, 1), (2, 2), (3, 3))
    assert level_pairs(("all",), 6, 3) == ((1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3))
    assert level_pairs(("all",), 2, 3) == ((1, 1), (1, 2), (2, 3))
    assert level_pairs(("embedding", "last"), 6, 3) == ((0, 0), (6, 3))


@pytest.mark.parametrize("levels", [("last", "all"), ("first",), ("last", "embedding")], ids=str)
def test_other_combinations_of_levels_are_refused(levels):
    with pytest.raises(ConfigError, match="local.levels is"):
        LocalHeadsConfig(levels=levels)


def test_an_mlp_needs_the_embedding_level():
    with pytest.raises(ConfigError, match="local.head is 'mlp'"):
        LocalHeadsConfig(levels=("last",), head="mlp")


def test_linear_heads_start_as_clips_projectors():
    config = tiny.config(local=LocalHeadsConfig(levels=("embedding", "last"), head="mlp"))
    params = tiny.params(config)
    ready = init_local_from_projections(params)
    before, after = flatten(params), flatten(ready)
    changed = {path for path in after if not np.array_equal(before[path], after[path])}
    assert changed == {"local/video_1/kernel", "local/text_0/kernel", "local/text_1/kernel"}
    np.testing.assert_array_equal(after["local/video_1/kernel"], after["visual_projection/kernel"])
    np.testing.assert_array_equal(after["local/text_0/kernel"], after["text_projection/kernel"])
    assert after["local/video_1/kernel"] is not after["visual_projection/kernel"]


@pytest.mark.parametrize("center", [False, True])
def test_levels_tap_what_the_design_says(center):
    """The heads' inputs are rebuilt from the hidden states, the norms and the linear maps."""
    local = LocalHeadsConfig(levels=("all",), center_video=center)
    config = tiny.config(local=local)
    params, out = encode(config)
    inner = np.asarray(out["video_hidden_states"][1][:, 2:])
    last = norm(out["video_hidden_states"][2][:, 2:], params["vision"]["post_layernorm"])
    for level, expected in enumerate((inner, last)):
        if center:
            expected = expected - expected.mean(1, keepdims=True)
        expected = expected @ np.asarray(params["local"][f"video_{level}"]["kernel"])
        np.testing.assert_allclose(out["video_local"][level].reshape(2, 12, 10), expected, atol=1e-4)
    for level, expected in enumerate((out["text_hidden_states"][1], out["text_tokens"])):
        expected = expected @ params["local"][f"text_{level}"]["kernel"]
        np.testing.assert_allclose(out["text_local"][level], expected, atol=1e-4)


def test_text_side_embedding_and_the_mlp_head_at_the_embedding_level():
    local = LocalHeadsConfig(levels=("embedding", "last"), head="mlp", text_side="embedding", center_video=True)
    config = tiny.config(local=local)
    params, out = encode(config)
    for level in (0, 1):
        expected = out["text_hidden_states"][0] @ params["local"][f"text_{level}"]["kernel"]
        np.testing.assert_allclose(out["text_local"][level], expected, atol=1e-4)
    head = params["local"]["video_0"]
    x = norm(out["video_hidden_states"][0][:, 2:], head["norm"])
    x = jax.nn.gelu(x @ head["fc1"]["kernel"] + head["fc1"]["bias"]) @ head["fc2"]["kernel"]
    np.testing.assert_allclose(out["video_local"][0].reshape(2, 12, 10), x, atol=1e-4)


def encode(config):
    """Parameters, and everything that the model returns for them."""
    model, params = DualEncoder(config), tiny.params(config)
    run = jax.jit(lambda params: model.apply({"params": params}, tiny.video(), tiny.IDS, tiny.IDS > 0, True))
    return params, run(params)


def norm(x, weights):
    """LayerNorm written out."""
    x = np.asarray(x)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * np.asarray(weights["scale"]) + np.asarray(weights["bias"])
