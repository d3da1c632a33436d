"""Quantizes weights to 8 bits, symmetric with a scale for each output channel, and measures the error.

``quantize(params)`` gives the tree with every large linear map of the language model, and its embedding table, replaced
by ``{"int8": [..., in, out], "scale": [..., 1, out]}`` (the table: ``[vocab, D]`` and ``[vocab, 1]``, a scale for each
token, which is the output channel of its logit). ``quantize_array`` does it for one array along any axis.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int8

from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree, flatten, matches, unflatten

# Nearly all elements of the model, and those that are read for each token.
_TARGETS = (r"gemma/layers.*/kernel", r"gemma/embedder/table")
_LARGEST = 127


@dataclasses.dataclass(frozen=True)
class Quantized:
    """A tree with some of its arrays in 8 bits, which are lazy and measure their own error when they are read."""

    params: Tree
    _measured: dict[str, float]

    def errors(self) -> dict[str, float]:
        """Root mean square of the error, relative to that of the weights: the worst array and the mean of all.

        Complete when all arrays were read.
        """
        values = list(self._measured.values())
        if not values:
            return {}
        return {"worst": max(values), "mean": float(np.mean(values))}


def quantize(params: Tree) -> Quantized:
    """Replaces the arrays whose paths match by lazy ones."""
    measured: dict[str, float] = {}
    flat: dict[str, Any] = {}
    for path, leaf in flatten(params).items():
        if matches(path, _TARGETS):
            flat |= _in_8_bits(path, leaf, -1 if path.endswith("table") else -2, measured)
        else:
            flat[path] = leaf
    return Quantized(unflatten(flat), measured)


def quantize_array(
    x: Float[np.ndarray, "*shape"], axis: int
) -> tuple[Int8[np.ndarray, "*shape"], Float[np.ndarray, "*ones"]]:
    """Rounds an array to whole steps of its own largest value over ``axis``.

    Args:
      x: Weights.
      axis: Of the inputs: each output has a scale of its own.

    Returns:
      int8 values within 127, and float32 scales with an axis of one; their product is ``x`` to half a step. Where all
      are zero, so is everything.
    """
    x = np.asarray(x, np.float32)
    scale = np.abs(x).max(axis=axis, keepdims=True) / np.float32(_LARGEST)
    steps = np.divide(x, scale, out=np.zeros_like(x), where=scale > 0)
    # The scale of subnormal numbers is rounded itself, so that the largest could come to 128 steps.
    return np.clip(np.rint(steps), -_LARGEST, _LARGEST).astype(np.int8), scale


def _in_8_bits(path: str, leaf: Any, axis: int, measured: dict[str, float]) -> dict[str, LazyArray]:
    """Values and scales of one array, computed once for both."""
    held: dict[str, np.ndarray] = {}

    def take(name: str) -> np.ndarray:
        if name not in held:
            x = np.asarray(leaf, np.float32)
            held["int8"], held["scale"] = values, scale = quantize_array(x, axis)
            size = float(np.sqrt(np.mean(np.square(x))))
            lost = float(np.sqrt(np.mean(np.square(x - values * scale))))
            measured[path] = lost / size if size else 0.0
        return held.pop(name)

    shape = list(leaf.shape)
    shape[axis] = 1
    return {
        f"{path}/int8": LazyArray(leaf.shape, np.int8, lambda: take("int8")),
        f"{path}/scale": LazyArray(shape, np.float32, lambda: take("scale")),
    }
