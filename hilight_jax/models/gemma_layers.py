"""Gemma-1's layer (RMSNorm, multi-query attention with rotary positions, gated MLP) and its tied embedding."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.layers import ComputeConfig, at_least_float32
from hilight_jax.models.lora import Linear, LoraConfig
from hilight_jax.ops.grouped_attention import grouped_attention
from hilight_jax.ops.rotary import rotary

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
