"""Long-CLIP's objective and the shipped configurations of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core import trees
from hilight_jax.core.config import build
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.stages.load_config import load_config
from hilight_jax.stages.long_clip import LongClipObjective, LongClipTrainConfig
from hilight_jax.training.trainer import Trainer

SMALL = (
    "--config.model.frames.width=16",
    "--config.model.frames.depth=1",
    "--config.model.frames.mlp_dim=16",
    "--config.model.frames.patch_size=32",
    "--config.model.text.width=16",
    "--config.model.text.depth=1",
    "--config.model.text.mlp_dim=16",
    "--config.batch_size=16",
    "--config.loss.group_size=4",
    "--config.loss.components=2",
)


@pytest.fixture(scope="module")
def config():
    return load_config("configs/long_clip.py:demo", SMALL)


def batch(config, seed=0):
    rng = np.random.default_rng(seed)
    made = LongClipObjective(config, make_mesh()).example_batch(config.batch_size)
    made["image"] = rng.integers(0, 256, made["image"].shape, np.uint8)
    for name in ("long_ids", "short_ids"):
        made[name] = made[name].copy()
        made[name][:, 1:6] = rng.integers(1, 49406, (config.batch_size, 5))
        made[name][:, 6] = 49407
    return made


def test_counts_are_known_before_the_losses(config):
    mesh = make_mesh(devices=jax.devices()[:1])
    objective = LongClipObjective(config, mesh)
    params = objective.init_params(jax.random.key(0))
    arrays = jax.tree.map(jnp.asarray, batch(config))
    terms, counts = jax.jit(objective.loss_terms)(params, arrays), objective.loss_counts(arrays)
    assert terms.keys() == counts.keys() == objective.weights.keys()
    assert all(terms[name].count == counts[name] == 16 for name in terms)


def test_both_position_tables_start_equal(config):
    params = LongClipObjective(config, make_mesh(devices=jax.devices()[:1])).init_params(jax.random.key(0))
    text = params["text"]
    np.testing.assert_array_equal(text["position_embedding"], text["position_embedding_res"])


def test_a_step_does_not_depend_on_the_number_of_devices(config):
    losses = []
    for count in (1, 4):
        mesh = make_mesh(devices=jax.devices()[:count])
        trainer = Trainer(config, LongClipObjective(config, mesh), mesh)
        _, metrics = trainer.train_step(trainer.init_state(), trainer.put_batch(batch(config)))
        losses.append({name: float(x) for name, x in metrics.items()})
    np.testing.assert_allclose(list(losses[1].values()), list(losses[0].values()), rtol=1e-4)


def test_the_real_model_freezes_the_positions_that_it_keeps():
    config = load_config("configs/long_clip.py:b16")
    trainer = Trainer(config, LongClipObjective(config, make_mesh()), make_mesh())
    assert trees.count(trainer.state_shapes.frozen) == 248 * 512
    assert trees.count(trainer.state_shapes.trained) == 149_835_265 - 248 * 512
    assert round(config.optimizer.warmup_fraction * config.steps) == 200


def test_an_unknown_preset_is_one_sentence():
    with pytest.raises(ConfigError, match="'dmo' is not a preset. Did you mean 'demo'"):
        load_config("configs/long_clip.py:dmo")


@pytest.mark.parametrize(
    ("group", "change", "sentence"),
    [
        ("data", {"image_size": 32}, "config.data.image_size is 32, but config.model.frames.image_size is 64"),
        ("data", {"text_length": 249}, "config.data.text_length is 249, but the text tower has 248 positions"),
    ],
)
def test_keys_that_contradict_are_one_sentence(config, group, change, sentence):
    changed = dataclasses.replace(getattr(config, group), **change)
    with pytest.raises(ConfigError, match=sentence):
        dataclasses.replace(config, **{group: changed})


def test_the_vocabulary_holds_every_id_of_the_tokenizer(config):
    values = dataclasses.asdict(config) | {"init_from": None}
    values["model"]["text"]["vocab_size"] = 100
    with pytest.raises(ConfigError, match="config.model.text.vocab_size is 100, but the tokenizer's ids reach 49407"):
        build(LongClipTrainConfig, values)
