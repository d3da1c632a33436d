"""The official HiLight names, on the weights of a golden case."""

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import flatten
from hilight_jax.formats.hilight_names import (
    TOKEN_MINING_PREFIX,
    TOKEN_MINING_TABLE,
    from_official,
    to_official,
    token_mining_from_official,
)
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import gemma_config_from_json
from hilight_jax.models.hilight import param_shapes
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.long_clip import FrameConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens" / "hilight_e2e_a_right_mixed.safetensors"


@pytest.fixture(scope="module")
def weights():
    return {k.removeprefix("weights/"): x for k, x in load_file(GOLDEN).items() if k.startswith("weights/")}


@pytest.fixture(scope="module")
def template():
    language = json.loads(GOLDEN.with_suffix(".json").read_text())["config"]["llm"]
    return param_shapes(
        HiLightConfig(
            VisionConfig(16, 8, 24, 2, 3, 40),
            FrameConfig(16, 4, 64, 2, 1, 256, 20),
            TokenMiningConfig(width_video=24, width_frames=20, width_out=30),
            gemma_config_from_json(language | {"model_type": "hilight_gemma"}),
        )
    )


def test_import_and_export_are_bitwise_inverse(weights, template):
    back = to_official(from_official(weights, template))
    unused = {name for name in weights if name.endswith(("position_ids", "logit_scale", "visual_projection.weight"))}
    assert len(unused) == 3 and back.keys() == weights.keys() - unused
    for name, x in back.items():
        assert x.dtype == weights[name].dtype and x.tobytes() == weights[name].tobytes(), name


def test_every_parameter_of_the_connector_has_exactly_one_official_name(template):
    assert sorted(entry.ours for entry in TOKEN_MINING_TABLE) == sorted(flatten(template["token_mining"]))
    assert len({entry.theirs for entry in TOKEN_MINING_TABLE}) == len(TOKEN_MINING_TABLE)


def test_a_checkpoint_without_towers_gives_the_other_parts(weights, template):
    bare = {name: x for name, x in weights.items() if "vision_tower" not in name}
    parts = {name: template[name] for name in ("token_mining", "gemma")}
    assert from_official(bare, parts).keys() == parts.keys()
    with pytest.raises(CheckpointError, match="'visual.proj' is missing"):
        from_official(bare, template)


def test_a_connector_alone_with_or_without_its_prefix(weights, template):
    mining = {name: x for name, x in weights.items() if name.startswith(TOKEN_MINING_PREFIX)}
    bare = {name.removeprefix(TOKEN_MINING_PREFIX): x for name, x in mining.items()}
    one, other = (flatten(token_mining_from_official(x, template["token_mining"])) for x in (mining, bare))
    assert all(np.array_equal(one[path], other[path]) for path in one)
    with pytest.raises(CheckpointError, match="'model.mm_projector.weight' is not part of this model"):
        token_mining_from_official(mining | {"model.mm_projector.weight": np.zeros(3)}, template["token_mining"])


def test_a_name_that_no_part_knows_is_reported(weights, template):
    with pytest.raises(CheckpointError, match="'model.mm_projector.weight' is not part of this model"):
        from_official(weights | {"model.mm_projector.weight": np.zeros(3)}, template)


def test_long_clip_is_rounded_through_float16_on_request(weights, template):
    name = "model.vision_tower_aux.vision_tower.visual.proj"
    finer = weights | {name: weights[name] * np.float32(1.0001)}
    exact, rounded = (from_official(finer, template, fp16_rounded=x)["frames"] for x in (False, True))
    kernel = exact["projection"]["kernel"]
    assert not np.array_equal(kernel, rounded["projection"]["kernel"])
    np.testing.assert_array_equal(kernel.astype(np.float16), rounded["projection"]["kernel"])
