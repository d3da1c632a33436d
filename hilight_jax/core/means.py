"""A mean kept as its sum and its count, so that parts of unequal size merge exactly; divide once, last."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
    """A weighted sum and the weight it was taken over; both scalars."""

    sum: jax.Array
    count: jax.Array

    def __add__(self, other: "Mean") -> "Mean":
        """Merges two parts of one mean."""
        return Mean(self.sum + other.sum, self.count + other.count)

    def value(self) -> jax.Array:
        """The mean, or 0 when nothing was counted."""
        return self.sum / jnp.maximum(self.count, 1)
