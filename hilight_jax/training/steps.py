"""The state of training and the pure training step: losses, gradients, update."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hilight_jax.core import trees
from hilight_jax.core.means import Mean

Batch = Mapping[str, jax.Array]
# (all parameters, batch) -> named loss terms, each a sum and a count.
LossTerms = Callable[[Any, Batch], dict[str, Mean]]
# batch -> the counts that the loss terms of this batch will carry, by name.
LossCounts = Callable[[Batch], dict[str, jax.Array]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class TrainState:
    """The state after ``step`` finished steps; only ``trained`` has gradients and optimiser state."""

    step: jax.Array
    trained: dict[str, Any]
    frozen: dict[str, Any]
    optimizer: Any

    @property
    def params(self) -> dict[str, Any]:
        """All parameters of the model as one tree."""
        return trees.merge(self.frozen, self.trained)


def create(params: dict[str, Any], freeze: tuple[str, ...], optimizer: Any) -> TrainState:
    """Splits off the parameters whose path matches a pattern of ``freeze`` and starts the optimiser on the rest."""
    frozen, trained = trees.split(params, freeze)
    return TrainState(step=jnp.zeros((), jnp.int32), trained=trained, frozen=frozen, optimizer=optimizer.init(trained))


def make_train_step(
    loss_terms: LossTerms,
    loss_counts: LossCounts,
    weights: Mapping[str, float],
    optimizer: optax.GradientTransformation,
    clamp: Callable[[dict], dict] = lambda params: params,
    constrain: Callable[[dict], dict] = lambda gradients: gradients,
    accumulate: int = 1,
    block: int = 1,
    skip: bool = False,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Returns ``step(state, batch) -> (state, metrics)``; the caller jits it.

    The loss is ``sum_n weights[n] * sum_n / count_n`` with counts of the whole batch, so that micro-batches of
    ragged captions add up to exactly the gradient of the undivided loss. Terms that contrast clips with each other
    contrast those of one micro-batch. Micro-batch ``i`` of ``k`` holds the blocks ``i, i + k, i + 2k, ...`` of
    ``block`` consecutive clips: any number of devices then keeps its own clips, and groups stay together.

    Args:
      loss_terms: The losses of the task.
      loss_counts: Their counts, from masks alone.
      weights: Weight of every term in the total; terms without one are reported only.
      optimizer: Update rule for the trained parameters.
      clamp: Projects parameters into their allowed range before each use (CLIP-ViP's logit scale).
      constrain: Pins the gradients to the shardings of the parameters.
      accumulate: Number of micro-batches that the batch is cut into.
      block: Consecutive clips that stay in one micro-batch.
      skip: Let a step whose loss or gradient is not finite change the step number alone; its metric ``skipped`` is 1.
    """

    def loss(trained: dict, frozen: dict, batch: Batch, counts: dict) -> tuple[jax.Array, dict]:
        terms = loss_terms(trees.merge(frozen, trained), batch)
        shares = {name: term.sum / jnp.maximum(counts[name], 1) for name, term in terms.items()}
        return sum(weights[name] * share for name, share in shares.items() if name in weights), shares

    gradient = jax.value_and_grad(loss, has_aux=True)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        trained, frozen = clamp(state.trained), clamp(state.frozen)
        counts = loss_counts(batch)

        def micro_step(total: Any, micro_batch: Batch) -> tuple[Any, None]:
            value, gradients = gradient(trained, frozen, micro_batch, counts)
            return jax.tree.map(jnp.add, total, (value, constrain(gradients))), None

        if accumulate == 1:
            (value, shares), gradients = gradient(trained, frozen, batch, counts)
        else:
            micro = {name: _micro_batches(x, accumulate, block) for name, x in batch.items()}
            first = {name: x[0] for name, x in micro.items()}
            shapes = jax.eval_shape(gradient, trained, frozen, first, counts)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            ((value, shares), gradients), _ = jax.lax.scan(micro_step, zeros, micro)
        gradients = constrain(gradients)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, trained)
        new_trained = optax.apply_updates(trained, updates)
        metrics = {"loss": value, **shares, "gradient_norm": optax.tree.norm(gradients)}
        if skip:
            good = jnp.isfinite(value) & jnp.isfinite(metrics["gradient_norm"])
            new, old = (new_trained, optimizer_state), (state.trained, state.optimizer)
            new_trained, optimizer_state = jax.tree.map(lambda x, y: jnp.where(good, x, y), new, old)
            metrics["skipped"] = jnp.where(good, 0.0, 1.0)
        new_state = TrainState(step=state.step + 1, trained=new_trained, frozen=state.frozen, optimizer=optimizer_state)
        return new_state, metrics

    return step


def _micro_batches(x: jax.Array, accumulate: int, block: int) -> jax.Array:
    """Cuts ``[B, ...]`` into ``[accumulate, B / accumulate, ...]``; block ``i`` goes to part ``i % accumulate``."""
    blocks = jnp.moveaxis(x.reshape(-1, accumulate, block, *x.shape[1:]), 1, 0)
    return blocks.reshape(accumulate, -1, *x.shape[1:])
