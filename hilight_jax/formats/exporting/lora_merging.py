"""LoRA's deltas added to the language model that they belong to, one layer at a time."""

from typing import Any

import numpy as np

from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree, flatten, unflatten
from hilight_jax.models.lora import LoraConfig, check_fits


def merge_lazily(params: Tree, deltas: Tree, config: LoraConfig) -> dict[str, Any]:
    """What ``models.lora.merge`` computes, ``kernel + alpha / rank * a @ b``, as lazy arrays.

    Sums are made in float32 (float64 for such kernels) and rounded once to the kernel's dtype.

    Args:
      params: The language model's parameters, layers stacked; lazy.
      deltas: The collection ``lora`` of that model.
      config: Rank and alpha.

    Raises:
      CheckpointError: The deltas are of another model or another rank.
    """
    check_fits(params, deltas, config)
    flat, pairs = flatten(params), flatten(deltas)
    for path in {path.rpartition("/")[0] for path in pairs}:
        kernel, a, b = flat[f"{path}/kernel"], pairs[f"{path}/a"], pairs[f"{path}/b"]
        flat[f"{path}/kernel"] = LazyArray(
            kernel.shape, kernel.dtype, lambda k=kernel, a=a, b=b: _merged(k, a, b, config.scale)
        )
    return unflatten(flat)


def _merged(kernel: Any, a: Any, b: Any, scale: float) -> np.ndarray:
    whole = np.asarray(kernel)
    whole = whole if whole.flags.writeable else whole.copy()
    precise = np.promote_types(whole.dtype, np.float32) if whole.dtype.kind == "f" else np.dtype(np.float32)
    a, b = np.asarray(a, precise), np.asarray(b, precise)
    for layer in range(len(whole)):
        whole[layer] = (whole[layer].astype(precise) + scale * (a[layer] @ b[layer])).astype(whole.dtype)
    return whole
