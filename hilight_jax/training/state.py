"""Everything that a training step reads and writes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from hilight_jax.core import trees


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
