"""The state of training and the pure training step: losses, gradients, update."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hilight_jax.core import trees
from hilight_jax.core.sharding import Rule

Batch = Mapping[str, jax.Array]


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


class Objective(Protocol):
    """The part of a training step that a stage defines; a stage that inherits it may leave out what has a default."""

    partition_rules: tuple[Rule, ...]
    weights: Mapping[str, float]  # Of the losses in the total; those without one are reported only.
    block_size: int = 1  # Consecutive clips that one micro-batch keeps together.

    def init_params(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters."""
        ...

    def finish_init(self, params: dict[str, Any]) -> dict[str, Any]:
        """Sets the parameters that start from others, once those have their values."""
        return params

    def loss_terms(self, params: Any, batch: Mapping[str, jax.Array]) -> dict:
        """The named losses of a batch, each a sum and a count."""
        ...

    def loss_counts(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Their counts, from masks alone."""
        ...

    def clamp(self, params: dict[str, Any]) -> dict[str, Any]:
        """Projects parameters into their allowed range."""
        return params

    def example_batch(self, batch_size: int) -> dict[str, np.ndarray]:
        """A batch of the right names, shapes and dtypes."""
        ...


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    constrain: Callable[[dict], dict] = lambda gradients: gradients,
    accumulate: int = 1,
    skip: bool = False,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Returns ``step(state, batch) -> (state, metrics)``; the caller jits it.

    The loss is ``sum_n weights[n] * sum_n / count_n`` with counts of the whole batch, so that micro-batches of
    ragged captions add up to exactly the gradient of the undivided loss. Terms that contrast clips with each other
    contrast those of one micro-batch. Micro-batch ``i`` of ``k`` holds the blocks ``i, i + k, i + 2k, ...`` of
    ``block_size`` consecutive clips: any number of devices then keeps its own clips, and groups stay together.

    Args:
      objective: The losses of the task.
      optimizer: Update rule for the trained parameters.
      constrain: Pins the gradients to the shardings of the parameters.
      accumulate: Number of micro-batches that the batch is cut into.
      skip: Let a step whose loss or gradient is not finite change the step number alone; its metric ``skipped`` is 1.
    """

    def loss(trained: dict, frozen: dict, batch: Batch, counts: dict) -> tuple[jax.Array, dict]:
        terms = objective.loss_terms(trees.merge(frozen, trained), batch)
        shares = {name: term.sum / jnp.maximum(counts[name], 1) for name, term in terms.items()}
        weights = objective.weights
        return sum(weights[name] * share for name, share in shares.items() if name in weights), shares

    gradient = jax.value_and_grad(loss, has_aux=True)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        trained, frozen = objective.clamp(state.trained), objective.clamp(state.frozen)
        counts = objective.loss_counts(batch)

        def micro_step(total: Any, micro_batch: Batch) -> tuple[Any, None]:
            value, gradients = gradient(trained, frozen, micro_batch, counts)
            return jax.tree.map(jnp.add, total, (value, constrain(gradients))), None

        if accumulate == 1:
            (value, shares), gradients = gradient(trained, frozen, batch, counts)
        else:
            micro = {name: _micro_batches(x, accumulate, objective.block_size) for name, x in batch.items()}
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
