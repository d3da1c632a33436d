"""Gemma-1 (arXiv 2403.08295) from embeddings to logits: one set of modules for training and for the KV cache.

```
embedder/table [vocab, D]                       final_norm/scale [D]
layers/attn_norm/scale [depth, D]               layers/mlp_norm/scale [depth, D]
layers/attn/q_proj/kernel [depth, D, N * H]     layers/mlp/(gate|up)_proj/kernel [depth, D, mlp]
layers/attn/(k|v)_proj/kernel [depth, D, K * H] layers/mlp/down_proj/kernel [depth, mlp, D]
layers/attn/o_proj/kernel [depth, N * H, D]
```
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.errors import DataError
from hilight_jax.core.sharding import Rule
from hilight_jax.core.trees import Tree
from hilight_jax.models.gemma_config import GEMMA_2B, GEMMA_7B, GemmaConfig, gemma_config_from_json
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.lora import COLLECTION, Linear, LoraConfig
from hilight_jax.ops.attention import causal_visibility, grouped_attention, rotary

__all__ = [
    "GEMMA_2B",
    "GEMMA_7B",
    "GEMMA_PARTITION_RULES",
    "Cache",
    "Gemma",
    "GemmaConfig",
    "gemma_config_from_json",
    "init_cache",
    "unstack_layers",
]
from hilight_jax.ops.vectors import at_least_float32

# Paths below the language model. One key and value head is never split; query heads and the MLP go over tensor.
GEMMA_PARTITION_RULES: tuple[Rule, ...] = (
    (r"embedder/table", ("tensor", "fsdp")),
    (r"layers/attn/q_proj/kernel", ("fsdp", "tensor")),
    (r"layers/attn/(k|v)_proj/kernel", ("fsdp", None)),
    (r"layers/attn/o_proj/kernel", ("tensor", "fsdp")),
    (r"layers/mlp/(gate|up)_proj/kernel", ("fsdp", "tensor")),
    (r"layers/mlp/down_proj/kernel", ("tensor", "fsdp")),
    (r"layers/(attn|mlp)_norm/scale", ()),
    (r"final_norm/scale", ()),
)


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
    """An empty cache with ``max_length`` slots; nobody checks at run time that they suffice."""
    shape = (config.depth, batch, max_length, config.num_kv_heads, config.head_dim)
    mask, length = jnp.zeros((batch, max_length), bool), jnp.zeros((), jnp.int32)
    return Cache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), mask, length)


class Gemma(nn.Module):
    """The language model; a delta of the collection ``lora`` is applied wherever there is one.

    Attributes:
      config: Sizes and conventions.
      compute: How to compute it.
      lora: How deltas are scaled and dropped; needed when the collection ``lora`` is given.
      stacked: Parameters of all layers on a leading axis, as everywhere but in ``unstack_layers``.
    """

    config: GemmaConfig
    compute: ComputeConfig = ComputeConfig()
    lora: LoraConfig | None = None
    stacked: bool = True

    def setup(self):
        """Top names: embedder, layers, final_norm."""
        self.embedder = Embedder(self.config, self.compute)
        self.final_norm = RmsNorm(self.config.norm_eps, self.compute)

    def embed(self, ids: Int[Array, "B L"]) -> Float[Array, "B L D"]:
        """Rows of the table, not yet scaled: ``__call__`` scales text and video rows alike. Ids must be in range."""
        return self.embedder(ids)

    def logits(self, tokens: Float[Array, "B L D"]) -> Float[Array, "B L vocab"]:
        """Scores of every vocabulary entry after each token, float32 at least; the table is the embedding's own."""
        return self.embedder.logits(tokens)

    @nn.compact
    def __call__(
        self,
        inputs_embeds: Float[Array, "B L D"],
        positions: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        cache: Cache | None = None,
        *,
        keep_outputs: bool = False,
        keep_attention: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Runs all layers over a run of new tokens.

        A token sees the real ones (``mask``) at or before itself, those in the cache included. What stands at a masked
        token is finite and means nothing.

        Float16 embeddings of a model that computes in float32 or wider are a quirk of the released HiLight, kept here:
        the scaled embeddings and the first norm's normalised values are rounded to float16, nothing else is.

        Args:
          inputs_embeds: Text and video rows, not scaled; multiplied by ``sqrt(D)`` here, all of them.
          positions: Rotary position of each token; for left padding ``cumsum(mask) - 1``.
          mask: True for real tokens.
          cache: Keys and values of the tokens before; the new ones are written to slots ``length ..``.
          keep_outputs: Also return the residual stream after every layer.
          keep_attention: Also return the attention weights.
          deterministic: No dropout in LoRA's deltas; otherwise the random stream ``dropout`` is needed.

        Returns:
          ``tokens`` [B, L, D], after the final norm; ``cache``, extended by L slots, or None; ``outputs``, None or
          ``depth + 1`` residual streams [B, L, D], the scaled embeddings first, the last one before the final norm;
          ``attention``, None or [depth, B, N, L, S].

        Raises:
          DataError: There are more tokens than the cache has slots.
        """
        dtype = self.compute.dtypes["dtype"]
        half_input = inputs_embeds.dtype == jnp.float16 and dtype != jnp.float16
        x = inputs_embeds if half_input else inputs_embeds.astype(dtype)
        x = scale_embeds(x, self.config.round_embed_scale).astype(dtype)
        length = x.shape[1]
        if cache is None:
            slot, key_mask, entries = 0, mask, None
        else:
            if length > cache.mask.shape[1]:
                raise DataError(
                    f"{length} tokens were given, but the cache has {cache.mask.shape[1]} slots; "
                    f"shorten the conversation or make the cache longer."
                )
            slot, entries = cache.length, (cache.k, cache.v)
            key_mask = jax.lax.dynamic_update_slice_in_dim(cache.mask, mask, slot, axis=1)
        visible = causal_visibility(key_mask, slot, length)
        fields = (self.config, self.compute, self.lora, keep_outputs, keep_attention, half_input, deterministic)
        run = self._scanned if self.stacked else self._unstacked
        (last, entries), outputs, weights = run(fields, (x, entries), positions, visible, slot)
        if cache is not None:
            cache = Cache(*entries, mask=key_mask, length=slot + length)
        return {
            "tokens": self.final_norm(last),
            "cache": cache,
            "outputs": (x, *outputs) if keep_outputs else None,
            "attention": weights,
        }

    def _scanned(self, fields: tuple, carry: tuple, positions: Array, visible: Array, slot: Any) -> tuple:
        """All layers as one scanned layer with stacked parameters."""
        compute, depth = self.compute, self.config.depth
        block = Block  # Written out, everything is kept: a quarter faster on a CPU, where only small models are.
        if compute.remat or not compute.unroll:
            block = nn.remat(Block, prevent_cse=compute.unroll, policy=compute.remat_policy)
        stacked = nn.scan(
            block,
            variable_axes={"params": 0, COLLECTION: 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
            length=depth,
            unroll=depth if compute.unroll else 1,
        )
        layers = stacked(*fields, name="layers")
        carry, (outputs, weights) = layers(carry, jnp.arange(depth, dtype=jnp.int32), positions, visible, slot)
        return carry, outputs, weights

    def _unstacked(self, fields: tuple, carry: tuple, positions: Array, visible: Array, slot: Any) -> tuple:
        """The same layers one after the other, each with parameters of its own; for inference."""
        outputs, weights = [], []
        for layer in range(self.config.depth):
            carry, (output, weight) = Block(*fields, name=f"layers_{layer}")(carry, layer, positions, visible, slot)
            outputs.append(output)
            weights.append(weight)
        return carry, outputs, jnp.stack(weights) if weights[0] is not None else None


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


# Keys and values of all layers [depth, B, S, K, H].
KeysValues = tuple[Array, Array]


class RmsNorm(nn.Module):
    """Root-mean-square norm whose stored scale is an offset from 1; float32 at least inside."""

    eps: float
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"], round_to_half: Array | bool = False) -> Float[Array, "*B D"]:
        """Normalises the last axis.

        Args:
          x: Tokens.
          round_to_half: Round the normalised value, before it is scaled, through float16; see ``Gemma.__call__``.
        """
        dtype, param_dtype = self.compute.dtypes["dtype"], self.compute.dtypes["param_dtype"]
        scale = self.param("scale", nn.initializers.zeros, x.shape[-1:], param_dtype)
        precise = jnp.promote_types(dtype, jnp.float32)
        x = x.astype(precise)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.eps)
        if round_to_half is not False:
            x = jnp.where(round_to_half, x.astype(jnp.float16).astype(precise), x)
        return (x * (1 + scale.astype(precise))).astype(dtype)


class Attention(nn.Module):
    """Attention of new tokens to themselves and, through the cache, to those before."""

    config: GemmaConfig
    compute: ComputeConfig
    lora: LoraConfig | None
    deterministic: bool

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L D"],
        layer: Array | int,
        positions: Int[Array, "B L"],
        visible: Bool[Array, "B L S"],
        slot: Array | int,
        cache: KeysValues | None,
    ) -> tuple[Float[Array, "B L D"], KeysValues | None, Float[Array, "B N L S"]]:
        """Returns the mixed tokens, the cache with this layer's new entries, and the attention weights."""
        config = self.config
        batch, length, width = x.shape

        def linear(name, heads):
            project = Linear(heads * config.head_dim, width**-0.5, *self._linear, name=name)
            return checkpoint_name(project(x), "qkv").reshape(batch, length, heads, config.head_dim)

        q = rotary(linear("q_proj", config.num_heads), positions, config.rope_base)
        k = rotary(linear("k_proj", config.num_kv_heads), positions, config.rope_base)
        v = linear("v_proj", config.num_kv_heads)
        if cache is not None:
            start = [jnp.asarray(index, jnp.int32) for index in (layer, 0, slot, 0, 0)]
            cache = tuple(
                jax.lax.dynamic_update_slice(old, new[None].astype(old.dtype), start)
                for old, new in zip(cache, (k, v), strict=True)
            )
            k, v = (jax.lax.dynamic_index_in_dim(x, layer, keepdims=False).astype(q.dtype) for x in cache)
        out, weights = grouped_attention(q, k, v, visible)
        inner = config.num_heads * config.head_dim
        std = (2 * config.depth * inner) ** -0.5
        mixed = checkpoint_name(out.reshape(batch, length, inner), "mixed")
        out = Linear(width, std, *self._linear, name="o_proj")(mixed)
        return out, cache, weights

    @property
    def _linear(self) -> tuple[Any, ...]:
        return self.compute, self.lora, self.deterministic


class Mlp(nn.Module):
    """``down(activation(gate(x)) * up(x))``."""

    config: GemmaConfig
    compute: ComputeConfig
    lora: LoraConfig | None
    deterministic: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Maps every token by itself."""
        config, width = self.config, x.shape[-1]
        shared = (self.compute, self.lora, self.deterministic)
        gate = checkpoint_name(Linear(config.mlp_dim, width**-0.5, *shared, name="gate_proj")(x), "hidden")
        up = checkpoint_name(Linear(config.mlp_dim, width**-0.5, *shared, name="up_proj")(x), "hidden")
        std = (2 * config.depth * config.mlp_dim) ** -0.5
        return Linear(width, std, *shared, name="down_proj")(config.activation(gate) * up)


class Block(nn.Module):
    """One pre-norm layer in the form that ``nn.scan`` wants: carry in, (carry, kept outputs) out.

    Attributes:
      config: Sizes.
      compute: Dtypes.
      lora: Scale and dropout of deltas.
      keep_output: Return the residual stream after this layer.
      keep_attention: Return the attention weights.
      half_input: Layer 0's first norm rounds through float16; see ``Gemma.__call__``.
      deterministic: No dropout.
    """

    config: GemmaConfig
    compute: ComputeConfig
    lora: LoraConfig | None
    keep_output: bool
    keep_attention: bool
    half_input: bool
    deterministic: bool

    @nn.compact
    def __call__(
        self,
        carry: tuple[Float[Array, "B L D"], KeysValues | None],
        layer: Array | int,
        positions: Int[Array, "B L"],
        visible: Bool[Array, "B L S"],
        slot: Array | int,
    ) -> tuple[tuple[Array, KeysValues | None], tuple[Array | None, Array | None]]:
        """Adds attention, then the MLP, to the residual stream; layer ``layer`` of the cache is written."""
        x, cache = carry
        shared = (self.config, self.compute, self.lora, self.deterministic)
        first_of_half = layer == 0 if self.half_input else False
        normed = RmsNorm(self.config.norm_eps, self.compute, name="attn_norm")(x, first_of_half)
        mixed, cache, weights = Attention(*shared, name="attn")(normed, layer, positions, visible, slot, cache)
        x = checkpoint_name(x + mixed, "middle")
        x = x + Mlp(*shared, name="mlp")(RmsNorm(self.config.norm_eps, self.compute, name="mlp_norm")(x))
        return (x, cache), (x if self.keep_output else None, weights if self.keep_attention else None)


class Embedder(nn.Module):
    """The table that embeds ids and, used the other way, scores them."""

    config: GemmaConfig
    compute: ComputeConfig

    def setup(self):
        """Rows of unit length on average, so that scaled embeddings have variance 1."""
        shape, dtype = (self.config.vocab_size, self.config.width), self.compute.dtypes["param_dtype"]
        self.table = self.param("table", nn.initializers.normal(self.config.width**-0.5), shape, dtype)

    def __call__(self, ids: Int[Array, "B L"]) -> Float[Array, "B L D"]:
        """Looks ids up."""
        return jnp.asarray(self.table)[ids].astype(self.compute.dtypes["dtype"])

    def logits(self, tokens: Float[Array, "B L D"]) -> Float[Array, "B L vocab"]:
        """Products with every row."""
        dtype = self.compute.dtypes["dtype"]
        precise = jnp.promote_types(dtype, jnp.float32)
        table = self.table.astype(dtype)
        return jnp.einsum("BLD,vD->BLv", tokens.astype(dtype), table, preferred_element_type=precise)


def scale_embeds(x: Float[Array, "*B D"], round_scale: bool) -> Float[Array, "*B D"]:
    """Multiplies by ``sqrt(D)`` under one of two rounding rules, which differ below float32 only.

    Args:
      x: Embeddings; the result has their dtype.
      round_scale: Round the factor to that dtype first (transformers >= 4.39: 45.25 for D = 2048 in bfloat16) instead
        of multiplying in float32 and rounding the product (4.38).
    """
    factor = np.sqrt(np.float64(x.shape[-1]))
    if round_scale:
        return x * jnp.asarray(factor, x.dtype)
    wide = at_least_float32(x)
    return (wide * jnp.asarray(factor, wide.dtype)).astype(x.dtype)
