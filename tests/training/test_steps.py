"""The training step on a toy objective whose numbers can be worked out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hilight_jax.core import trees
from hilight_jax.core.means import Mean
from hilight_jax.training.optimizer import OptimizerConfig, make_optimizer, schedule
from hilight_jax.training.steps import Objective, _micro_batches, create, make_train_step

# Ragged rows: a mean over all real entries is not the mean of the rows' means.
BATCH = {
    "x": jnp.array([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0], [5.0, 6.0, 0.0], [7.0, 0.0, 0.0]]),
    "mask": jnp.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]], bool),
}


class Line(Objective):
    weights = {"line": 1.0}

    def loss_terms(self, params, batch):
        value = jnp.where(batch["mask"], params["w"] * batch["x"] + params["b"], 0.0)
        return {"line": Mean(value.sum(), batch["mask"].sum()), "watched": Mean(value.sum(), jnp.float32(1))}

    def loss_counts(self, batch):
        return {"line": batch["mask"].sum(), "watched": jnp.float32(1)}


class CappedLine(Line):
    def clamp(self, params):
        return {name: jnp.minimum(x, 1.0) for name, x in params.items()}


def toy_step(accumulate=1, freeze=(), objective=None):
    optimizer = optax.sgd(0.1)
    state = create({"w": jnp.float32(2.0), "b": jnp.float32(0.0)}, freeze, optimizer)
    step = make_train_step(objective or Line(), optimizer, accumulate=accumulate)
    return state, jax.jit(step)


def test_the_loss_is_sum_over_count_and_unweighted_terms_are_only_reported():
    state, step = toy_step()
    new, metrics = step(state, BATCH)
    # 1 + 2 + 3 + 4 + 5 + 6 + 7 = 28 over 7 real entries: mean x is 4.
    assert float(metrics["loss"]) == pytest.approx(8.0)
    assert float(metrics["watched"]) == pytest.approx(56.0)
    assert float(new.trained["w"]) == pytest.approx(2.0 - 0.1 * 4.0)
    assert float(new.trained["b"]) == pytest.approx(-0.1)
    assert int(new.step) == 1


@pytest.mark.parametrize("accumulate", [2, 4])
def test_micro_batches_of_ragged_rows_give_the_undivided_gradient(accumulate):
    whole, metrics = toy_step()[1](toy_step()[0], BATCH)
    state, step = toy_step(accumulate)
    cut, cut_metrics = step(state, BATCH)
    np.testing.assert_allclose(cut.trained["w"], whole.trained["w"], rtol=1e-6)
    np.testing.assert_allclose(cut_metrics["loss"], metrics["loss"], rtol=1e-6)


def test_micro_batches_keep_blocks_of_consecutive_clips():
    assert _micro_batches(jnp.arange(8), 2, 2).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert _micro_batches(jnp.arange(4), 2, 1).tolist() == [[0, 2], [1, 3]]


def test_frozen_parameters_have_no_gradient_and_no_optimiser_state():
    optimizer = optax.adam(0.1)
    state = create({"w": jnp.float32(2.0), "b": jnp.float32(0.0)}, ("w",), optimizer)
    assert set(state.trained) == {"b"}
    assert set(state.optimizer[0].mu) == {"b"}
    step = make_train_step(Line(), optimizer)
    new, _ = step(state, BATCH)
    assert float(new.frozen["w"]) == 2.0
    assert float(new.trained["b"]) != 0.0


def test_parameters_are_clamped_before_they_are_used():
    state, step = toy_step(objective=CappedLine())
    new, metrics = step(state, BATCH)
    assert float(metrics["loss"]) == pytest.approx(4.0)
    assert float(new.trained["w"]) == pytest.approx(1.0 - 0.4)


def skipping_step(**options):
    optimizer = optax.adam(0.1)
    state = create({"w": jnp.float32(2.0), "b": jnp.float32(0.0)}, (), optimizer)
    return state, jax.jit(make_train_step(Line(), optimizer, **options))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_skipped_step_changes_nothing_but_the_step_number(value):
    state, step = skipping_step(skip=True)
    new, metrics = step(state, BATCH | {"x": BATCH["x"].at[1, 0].set(value)})
    assert float(metrics["skipped"]) == 1.0
    assert int(new.step) == 1
    jax.tree.map(np.testing.assert_array_equal, (new.trained, new.optimizer), (state.trained, state.optimizer))


def test_a_finite_step_is_the_same_whether_others_would_be_skipped():
    state, step = skipping_step(skip=True)
    new, metrics = step(state, BATCH)
    plain, plain_metrics = skipping_step()[1](state, BATCH)
    assert float(metrics.pop("skipped")) == 0.0
    jax.tree.map(np.testing.assert_array_equal, (new, metrics), (plain, plain_metrics))


def test_the_rate_rises_over_the_warm_up_and_ends_at_zero():
    rate = schedule(OptimizerConfig(learning_rate=1.0, warmup_fraction=0.1), steps=100)
    assert [float(rate(step)) for step in (0, 5, 10, 55, 100)] == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0], abs=1e-6)


def test_biases_norms_and_scales_do_not_decay_and_multipliers_apply():
    config = OptimizerConfig(
        learning_rate=1.0, weight_decay=0.5, warmup_fraction=0.0, clip_norm=0.0, multipliers={"logit_scale": 10.0}
    )
    params = {
        "layer": {"kernel": jnp.float32(1.0), "bias": jnp.float32(1.0), "norm1": {"scale": jnp.float32(1.0)}},
        "logit_scale": jnp.float32(1.0),
    }
    optimizer = make_optimizer(config, 10)
    gradients = jax.tree.map(lambda x: jnp.float32(0.0), params)
    updates, state = optimizer.update(gradients, optimizer.init(params), params)
    assert float(updates["layer"]["kernel"]) == pytest.approx(-0.5)
    assert float(updates["layer"]["bias"]) == 0.0
    assert float(updates["layer"]["norm1"]["scale"]) == 0.0
    gradients = jax.tree.map(lambda x: jnp.float32(1.0), params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    assert float(updates["layer"]["bias"]) == pytest.approx(-1.0, rel=1e-5)
    assert float(updates["logit_scale"]) == pytest.approx(-10.0, rel=1e-5)


def test_muon_turns_matrices_by_orthogonal_updates_and_leaves_the_rest_to_adam():
    """A step of RMS 0.2: an orthogonal matrix of 4 x 6 has RMS 6 ** -0.5, so singular values of 0.2 * 6 ** 0.5."""
    rng = np.random.default_rng(0)
    shapes = {"layers/kernel": (2, 4, 6), "embedder/table": (4, 6), "token_embedding": (4, 6), "norm/scale": (4,)}
    gradients = trees.unflatten({path: jnp.asarray(rng.normal(size=shape)) for path, shape in shapes.items()})
    params = jax.tree.map(jnp.zeros_like, gradients)
    config = OptimizerConfig(learning_rate=1.0, warmup_fraction=0.0, weight_decay=0.0, clip_norm=0.0)

    def first_update(name):
        optimizer = make_optimizer(dataclasses.replace(config, name=name), 10)
        return trees.flatten(optimizer.update(gradients, optimizer.init(params), params)[0])

    muon, adamw = first_update("muon"), first_update("adamw")
    for layer in np.asarray(muon.pop("layers/kernel")):
        # Five Newton-Schulz iterations bring singular values near 1, not to it.
        np.testing.assert_allclose(np.linalg.svd(layer)[1], 0.2 * 6**0.5, rtol=0.35)
    for path, update in muon.items():
        np.testing.assert_allclose(update, adamw[path], rtol=1e-6)
