"""The arrays of decoding with Gemma: a cache of keys and values, and layers with parameters of their own.

Letters: B batch, S slots, K key and value heads, H width of one head.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.trees import Tree
from hilight_jax.models.gemma_config import GemmaConfig


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens so far, in slots that fill from the left.

    Attributes:
      k: Rotated keys [depth, B, S, K, H].
      v: Values [depth, B, S, K, H].
      mask: bool [B, S], True for slots that hold a real token.
      length: int32 scalar, slots written so far; the same for all rows (prompts are padded on the left).
    """

    k: Float[Array, "depth B S K H"]
    v: Float[Array, "depth B S K H"]
    mask: Bool[Array, "B S"]
    length: Int[Array, ""]


def init_cache(config: GemmaConfig, batch: int, max_length: int, dtype: Any = jnp.float32) -> Cache:
    """An empty cache with ``max_length`` slots; writing past the last slot is not detected at run time."""
    shape = (config.depth, batch, max_length, config.num_kv_heads, config.head_dim)
    mask, length = jnp.zeros((batch, max_length), bool), jnp.zeros((), jnp.int32)
    return Cache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), mask, length)


def unstack_layers(tree: Tree) -> dict[str, Any]:
    """Splits a tree's stacked ``layers`` into ``layers_0``, ``layers_1``, ... for ``Gemma(stacked=False)``.

    A CPU copies each layer's weights out of a stacked array at every step: one decode step of Gemma-2B's layers took
    seven times as long as with arrays of their own. What lies in this process's memory on 64-byte borders, as jax's own
    arrays do, is not copied: the parts are views, and live as long as the stacked array would.

    Args:
      tree: Parameters or LoRA deltas of ``Gemma`` with stacked layers.
    """
    rest = {name: value for name, value in tree.items() if name != "layers"}
    depth = jax.tree.leaves(tree["layers"])[0].shape[0]
    return rest | {f"layers_{i}": jax.tree.map(lambda x, i=i: _part(x, i), tree["layers"]) for i in range(depth)}


def _part(x: Any, index: int) -> jax.Array:
    """``x[index]``, a view where that is possible."""
    if isinstance(x, np.ndarray):
        return jax.device_put(x[index], may_alias=True)
    if isinstance(x, Tracer) or any(device.platform != "cpu" for device in x.devices()) or len(x.devices()) > 1:
        return x[index]
    return jax.device_put(np.asarray(x)[index], x.sharding, may_alias=True)
