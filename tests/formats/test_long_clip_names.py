"""The official Long-CLIP names, on the weights of a golden case, and CLIP's positions stretched."""

import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import flatten
from hilight_jax.formats.long_clip_names import TABLE, from_official, stretch_positions, to_official
from hilight_jax.models.long_clip import FrameConfig, LongClipConfig, LongTextConfig
from tests.models.tiny_long_clip import shapes

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens" / "hilight_longclip_tower.safetensors"
FRAMES = FrameConfig(12, 4, 128, 1, 2, 512, 37)
TEXT = LongTextConfig(vocab_size=29, width=64, depth=1, num_heads=1, mlp_dim=256, embed_dim=37)
PACKED = "visual.transformer.resblocks.0.attn.in_proj_weight"


@pytest.fixture(scope="module")
def weights():
    return {k.removeprefix("weights/"): x for k, x in load_file(GOLDEN).items() if k.startswith("weights/")}


@pytest.fixture(scope="module")
def template():
    return shapes(LongClipConfig(FRAMES, TEXT))


def test_import_and_export_are_bitwise_inverse(weights, template):
    back = to_official(from_official(weights, template))
    assert back.keys() == weights.keys()
    for name, x in weights.items():
        assert back[name].dtype == x.dtype and back[name].shape == x.shape, name
        assert back[name].tobytes() == x.tobytes(), name


def test_every_parameter_of_the_model_has_exactly_one_official_name(template):
    assert sorted(entry.ours for entry in TABLE) == sorted(flatten(template))
    assert len({entry.theirs for entry in TABLE}) == len(TABLE)


def test_the_packed_projection_is_q_then_k_then_v(weights, template):
    attention = from_official(weights, template)["frames"]["encoder"]["layers"]["self_attn"]
    for part, name in enumerate("qkv"):
        expected = weights[PACKED][128 * part : 128 * (part + 1)].T
        np.testing.assert_array_equal(attention[f"{name}_proj"]["kernel"][0], expected)


def test_the_image_tower_is_taken_out_of_the_whole_file(weights, template):
    tree = from_official(weights, {"frames": template["frames"]})
    assert tree.keys() == {"frames"}


def test_rounding_leaves_norms_and_embeddings_alone(weights, template):
    exact = to_official(from_official(weights, template))
    rounded = to_official(from_official(weights, template, fp16_rounded=True))
    changed = {name for name in exact if not np.array_equal(exact[name], rounded[name])}
    kept = {name for name in exact if "ln_" in name or "embedding" in name} | {"logit_scale"}
    assert changed == exact.keys() - kept
    np.testing.assert_array_equal(rounded[PACKED], exact[PACKED].astype(np.float16).astype(np.float32))


def test_wrong_names_and_shapes_are_reported(weights, template):
    lacking = {name: x for name, x in weights.items() if name != PACKED}
    with pytest.raises(CheckpointError, match=r"'visual.transformer.*in_proj_weight\[q\]' is missing"):
        from_official(lacking, template)
    with pytest.raises(CheckpointError, match="'visual.transformer.*in_proj_weight' is not part of this model"):
        from_official(weights | {PACKED: weights[PACKED][:-1]}, template)
    with pytest.raises(CheckpointError, match="'ln_extra.weight' is not part of this model"):
        from_official(weights | {"ln_extra.weight": np.zeros(3)}, template)


def test_positions_are_stretched_four_times_and_the_last_goes_on():
    table = np.array([[10.0], [0.0], [4.0], [12.0]])
    expected = [10, 0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18]
    np.testing.assert_array_equal(stretch_positions(table, kept=1)[:, 0], expected)
    assert len(stretch_positions(np.zeros((77, 2)))) == 248


def test_a_table_that_cannot_be_stretched_is_refused():
    with pytest.raises(CheckpointError, match="the position table has 21 rows, but stretching keeps 20"):
        stretch_positions(np.zeros((21, 2)))
