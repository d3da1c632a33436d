"""The official CLIP-ViP names, on the weights of a golden case."""

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import flatten
from hilight_jax.formats.clip_names import TABLE, from_official, to_official
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.video_text import DualEncoderConfig
from tests.models import tiny

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens" / "clip_vip_image.safetensors"


@pytest.fixture(scope="module")
def weights():
    """State dict of a VidCLIP, every name behind ``clipmodel.``."""
    return {k.removeprefix("weights/"): x for k, x in load_file(GOLDEN).items() if k.startswith("weights/")}


@pytest.fixture(scope="module")
def template():
    sizes = json.loads(GOLDEN.with_suffix(".json").read_text())["config"]
    vision = VisionConfig(24, 8, sizes["v_hidden"], sizes["v_layers"], sizes["v_heads"], sizes["v_inter"], 5, 4)
    text = TextConfig(99, 20, sizes["t_hidden"], sizes["t_layers"], sizes["t_heads"], sizes["t_inter"])
    return tiny.shapes(DualEncoderConfig(vision, text, sizes["projection_dim"], local=LocalHeadsConfig(levels=())))


def test_import_and_export_are_bitwise_inverse(weights, template):
    back = to_official(from_official(weights, template))
    kept = {name.removeprefix("clipmodel."): x for name, x in weights.items() if "position_ids" not in name}
    assert back.keys() == kept.keys()
    for name, x in kept.items():
        assert back[name].dtype == x.dtype and back[name].shape == x.shape, name
        assert back[name].tobytes() == x.tobytes(), name


def test_every_parameter_of_the_model_has_exactly_one_official_name(template):
    ours = [entry.ours for entry in TABLE]
    assert sorted(ours) == sorted(flatten(template))
    assert len({entry.theirs for entry in TABLE}) == len(TABLE)


def test_wrappers_prefixes_are_cut_off(weights, template):
    wrapped = {f"module.model.{name.removeprefix('clipmodel.')}": x for name, x in weights.items()}
    found, expected = flatten(from_official(wrapped, template)), flatten(from_official(weights, template))
    assert all(np.array_equal(found[path], expected[path]) for path in expected)


def test_an_unknown_name_is_reported(weights, template):
    with pytest.raises(CheckpointError, match="'text_model.embeddings.extra' is not part of this model"):
        from_official(weights | {"clipmodel.text_model.embeddings.extra": np.zeros(3)}, template)


def test_a_tower_alone(weights, template):
    vision = {name: x for name, x in weights.items() if "vision_model" in name}
    tree = from_official(vision, {"vision": template["vision"]})
    assert tree["vision"]["encoder"]["layers"]["self_attn"]["q_proj"]["kernel"].shape == (2, 48, 48)
    with pytest.raises(CheckpointError, match="'text_projection.weight' is missing"):
        from_official(vision, {"vision": template["vision"], "text_projection": template["text_projection"]})


def test_local_heads_have_no_official_name():
    with pytest.raises(CheckpointError, match="'local/scale' has no foreign name"):
        to_official({"local": {"scale": np.zeros(())}})
