"""An encoder without positions, and one whose positions are shuffled."""

import json

import jax
import numpy as np
import pytest

from hilight_jax.core import trees
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.pages.report import read_evaluations
from hilight_jax.stages.encoder import EncoderObjective
from hilight_jax.stages.encoder_evaluator import shuffle_positions
from hilight_jax.stages.trained_encoder import TrainedEncoder
from hilight_jax.training.trainer import Trainer
from tests.stages.tiny import tiny_config

TABLE = "vision/embeddings/position_embedding"


def encoder_of(argument):
    config, mesh = tiny_config(argument), make_mesh()
    state = Trainer(config, EncoderObjective(config, mesh), mesh).init_state()
    return TrainedEncoder(config, state.params), state


def embed(encoder, video, params=None):
    return TrainedEncoder(encoder.config, params or encoder.params).encode_video(video)["video_embeds"]


@pytest.fixture
def clips():
    """A clip, and the same with the patches of each frame turned about both ways."""
    config = tiny_config("demo")
    size, patch = config.data.image_size, config.model.vision.patch_size
    pixels = np.random.default_rng(0).integers(0, 255, (1, config.data.num_frames, size, size, 3), np.uint8)
    patches = pixels.reshape(1, -1, size // patch, patch, size // patch, patch, 3)
    return pixels, patches[:, :, ::-1, :, ::-1].reshape(pixels.shape)


def test_without_positions_the_order_of_patches_is_nothing(clips):
    encoder, state = encoder_of("demo,positions=off")
    assert TABLE in trees.flatten(state.frozen) and not np.asarray(trees.flatten(state.frozen)[TABLE]).any()
    one, other = (embed(encoder, clip) for clip in clips)
    np.testing.assert_allclose(one, other, atol=2e-6)
    np.testing.assert_allclose(embed(encoder, clips[0], shuffle_positions(encoder.params)), one, atol=2e-6)


def test_with_positions_both_change_the_clip(clips):
    encoder, state = encoder_of("demo")
    assert TABLE in trees.flatten(state.trained)
    one, other = (embed(encoder, clip) for clip in clips)
    assert np.abs(one - other).max() > 1e-4
    assert np.abs(embed(encoder, clips[0], shuffle_positions(encoder.params)) - one).max() > 1e-4


def test_shuffling_keeps_every_row_and_that_of_the_proxies_in_its_place():
    table = np.arange(12.0).reshape(6, 2)
    params = {"vision": {"embeddings": {"position_embedding": table}}, "text": {"x": np.ones(1)}}
    shuffled = shuffle_positions(params)["vision"]["embeddings"]["position_embedding"]
    assert shuffled[0].tolist() == table[0].tolist() and shuffled.tolist() != table.tolist()
    assert sorted(shuffled.tolist()) == table.tolist()


def test_parameters_that_are_loaded_cannot_start_from_zero():
    loads = ("--config.init_from.workdir=runs/x", "--config.init_from.skip=('local',)")
    with pytest.raises(ConfigError, match="but config.init_from loads these parameters; name them in config.init_from"):
        tiny_config("demo,positions=off", *loads)
    config = tiny_config("demo,positions=off", loads[0], f"--config.init_from.skip=('{TABLE}',)")
    assert config.zero == (TABLE,)


def test_a_pattern_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="config.zero: '\\(' is not a regular expression of paths"):
        tiny_config("demo", "--config.zero=('(',)")
    config, mesh = tiny_config("demo", "--config.zero=('nonsense',)"), make_mesh()
    with pytest.raises(ConfigError, match="config.zero: 'nonsense' matches no parameter"):
        EncoderObjective(config, mesh).init_params(jax.random.key(0))


def test_a_shuffled_evaluation_is_none_of_the_models_own(tmp_path):
    (tmp_path / "evaluations").mkdir()
    for name, shuffled in (("validation", False), ("validation-shuffle-positions", True)):
        result = {"name": name, "split": "validation", "shuffled": shuffled}
        (tmp_path / "evaluations" / f"{name}.json").write_text(json.dumps(result))
    assert [result["name"] for result in read_evaluations(tmp_path)] == ["validation"]
