"""Cosines of gradients that can be written down, and of the encoder's two losses."""

import contextlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core import trees
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.means import Mean
from hilight_jax.core.mesh import MeshConfig, make_mesh, under_mesh
from hilight_jax.stages import encoder
from hilight_jax.stages.encoder import EncoderObjective, EncoderStage
from hilight_jax.training.gradient_agreement import by_layer, flat_figures, gradient_agreement
from hilight_jax.training.trainer import Trainer
from tests.stages.tiny import ragged_batch, tiny_config


def objective(local):
    """A global loss whose gradient is 1 everywhere, over two samples, and a local one of weight 3."""

    def terms(params, batch):
        flat = trees.flatten(params)
        everything = sum(jnp.sum(leaf) for leaf in flat.values())
        return {"nce": Mean(2 * everything, jnp.asarray(2.0)), "local": Mean(local(flat), jnp.asarray(1.0))}

    return SimpleNamespace(
        weights={"nce": 1.0, "local": 3.0},
        loss_terms=terms,
        loss_counts=lambda batch: {"nce": jnp.asarray(2.0), "local": jnp.asarray(1.0)},
        clamp=lambda params: params,
    )


PARAMS = {
    "vision": {
        "embeddings": {"patch": jnp.zeros(2)},
        "encoder": {"layers": {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros((2, 1))}},
        "post_layernorm": {"scale": jnp.zeros(3)},
    },
    "visual_projection": {"kernel": jnp.zeros(4)},
}


def test_figures_of_gradients_that_are_known():
    def local(flat):
        kernel, bias = (flat[f"vision/encoder/layers/{name}"] for name in ("kernel", "bias"))
        return flat["vision/embeddings/patch"][0] - kernel[1].sum() - bias[1].sum()

    found = gradient_agreement(objective(local), {"local"})(PARAMS, {})
    assert list(found) == ["vision/embeddings", "vision/block 1", "vision/block 2"]
    figures = flat_figures(found)
    expected = {
        "embeddings/cosine": 1 / 2**0.5,  # (1, 0) and (1, 1)
        "embeddings/ratio": 3 / 2**0.5,
        "block 1/cosine": 0.0,  # The local loss does not reach it.
        "block 1/ratio": 0.0,
        "block 2/cosine": -1.0,
        "block 2/ratio": 3.0,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(figures[f"gradients/vision/{name}"], value, rtol=1e-6)


def test_the_encoders_losses_are_compared_layer_by_layer_on_eight_devices():
    config, mesh = tiny_config("demo,setting=2"), make_mesh(MeshConfig())
    trainer = Trainer(config, EncoderObjective(config, mesh), mesh)
    params, batch = trainer.init_state().params, trainer.put_batch(ragged_batch(config))
    found = jax.jit(under_mesh(mesh, gradient_agreement(trainer.objective, {"within_clip"})))(params, batch)

    def loss(params, name):
        term = trainer.objective.loss_terms(params, batch)[name]
        return trainer.objective.weights[name] * term.sum / term.count

    layers = [
        by_layer(jax.jit(under_mesh(mesh, jax.grad(lambda p, name=name: loss(p, name))))(params))
        for name in ("within_clip", "nce")
    ]
    names = ("embeddings", "block 1", "block 2")
    assert set(found) == {f"{tower}/{name}" for tower in ("vision", "text") for name in names}
    for layer, figures in found.items():
        ours, theirs = (np.concatenate([np.ravel(x) for x in of[layer]]) for of in layers)
        lengths = np.linalg.norm(ours), np.linalg.norm(theirs)
        np.testing.assert_allclose(figures["cosine"], ours @ theirs / lengths[0] / lengths[1], atol=1e-4)
        np.testing.assert_allclose(figures["ratio"], lengths[0] / lengths[1], rtol=1e-3)


def test_it_needs_a_local_loss_and_clips_to_compare_on():
    with pytest.raises(ConfigError, match="config.compare_gradients needs a local loss"):
        tiny_config("demo,setting=0", "--config.compare_gradients=true")
    with pytest.raises(ConfigError, match="config.compare_gradients needs data.validation"):
        tiny_config("demo", "--config.compare_gradients=true", "--config.data.validation=")


def test_every_evaluation_of_a_run_compares_them_where_that_is_wanted(tmp_path, monkeypatch):
    config, mesh = tiny_config("demo,setting=2", "--config.compare_gradients=true"), make_mesh(MeshConfig())
    stage = EncoderStage(config, mesh, tmp_path)
    stage.validation = ["clips"]
    drawn = []

    def batches(self, size, start_step, rows):
        drawn.append((self.source, self.seed, size, start_step))
        batch = ragged_batch(config)
        return contextlib.nullcontext(iter([{name: x[rows] for name, x in batch.items()}]))

    monkeypatch.setattr(encoder, "evaluate_encoder", lambda *_, with_phrases: None)
    monkeypatch.setattr(encoder, "headline", lambda *_: {"validation/r1": 0.5})
    monkeypatch.setattr(encoder.Pipeline, "batches", batches)
    figures = stage.evaluate(Trainer(config, stage.objective, mesh).init_state().params, 3)
    assert drawn == [(["clips"], 0, config.batch_size, 0)]
    assert figures["validation/r1"] == 0.5 and len(figures) == 1 + 2 * 2 * 3
    assert all(np.isfinite(value) for value in figures.values())
    assert -1 <= figures["gradients/vision/block 1/cosine"] <= 1
