"""Gemma-1 (arXiv 2403.08295) from embeddings to logits: one set of modules for training and for decoding with a cache.

```
B  batch                                    N  query heads
L  new tokens                               K  key and value heads
S  keys: L, or the slots of the cache       G  query heads per key head, N / K
D  width                                    H  width of one head
v  vocabulary
```

Sizes and conventions are in ``gemma_config``. Parameters:

```
embedder/table [v, D]                           final_norm/scale [D]
layers/attn_norm/scale [depth, D]               layers/mlp_norm/scale [depth, D]
layers/attn/q_proj/kernel [depth, D, N * H]     layers/mlp/(gate|up)_proj/kernel [depth, D, mlp]
layers/attn/(k|v)_proj/kernel [depth, D, K * H] layers/mlp/down_proj/kernel [depth, mlp, D]
layers/attn/o_proj/kernel [depth, N * H, D]
```
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.errors import DataError
from hilight_jax.core.sharding import Rule
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.gemma_decoding import Cache
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.lora import COLLECTION, Linear, LoraConfig
from hilight_jax.ops.attention import causal_visibility, grouped_attention, rotary
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

# Keys and values of all layers, or of a cache, [depth, B, S, K, H].
KeysValues = tuple[Array, Array]


class RmsNorm(nn.Module):
    """Root-mean-square norm whose stored scale is an offset from 1; float32 at least inside."""

    eps: float
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"], half: Array | bool = False) -> Float[Array, "*B D"]:
        """Normalises the last axis; ``half`` applies ``float16_quirk`` to the normalised values."""
        dtype, param_dtype = self.compute.dtypes["dtype"], self.compute.dtypes["param_dtype"]
        scale = self.param("scale", nn.initializers.zeros, x.shape[-1:], param_dtype)
        precise = jnp.promote_types(dtype, jnp.float32)
        x = x.astype(precise)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.eps)
        return (float16_quirk(x, half) * (1 + scale.astype(precise))).astype(dtype)


def float16_quirk(normed: Float[Array, "*B D"], half: Array | bool) -> Float[Array, "*B D"]:
    """Rounds the normalised values of a model's first norm through float16 where ``half`` is True.

    The released HiLight merges text and video rows in float16 and computes in float32 after them. The scaled embeddings
    keep the dtype of the merged rows, and so do the first norm's normalised values; the norm's scale is float32, and so
    is everything after it. With these roundings its checkpoints give the original's numbers.

    Args:
      normed: Normalised values, not yet scaled.
      half: True in the first norm behind float16 embeddings; an array where layers are scanned.
    """
    if half is False:
        return normed
    return jnp.where(half, normed.astype(jnp.float16).astype(normed.dtype), normed)


class GroupedQueryAttention(nn.Module):
    """Attention of new tokens to themselves and, through the cache, to those before.

    Fields are named as in ``GemmaConfig``; ``depth`` scales the initial output map, ``deterministic`` turns LoRA's
    dropout off.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_base: float
    depth: int
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
        batch, length, width = x.shape
        linear = functools.partial(Linear, compute=self.compute, lora=self.lora, deterministic=self.deterministic)

        def heads(name: str, count: int) -> Float[Array, "B L count H"]:
            projected = linear(count * self.head_dim, width**-0.5, name=name)(x)
            return checkpoint_name(projected, "qkv").reshape(batch, length, count, self.head_dim)

        q = rotary(heads("q_proj", self.num_heads), positions, self.rope_base)
        k = rotary(heads("k_proj", self.num_kv_heads), positions, self.rope_base)
        v = heads("v_proj", self.num_kv_heads)
        if cache is not None:
            start = [jnp.asarray(index, jnp.int32) for index in (layer, 0, slot, 0, 0)]
            cache = tuple(
                jax.lax.dynamic_update_slice(old, new[None].astype(old.dtype), start)
                for old, new in zip(cache, (k, v), strict=True)
            )
            k, v = (jax.lax.dynamic_index_in_dim(x, layer, keepdims=False).astype(q.dtype) for x in cache)
        out, weights = grouped_attention(q, k, v, visible)
        inner = self.num_heads * self.head_dim
        mixed = checkpoint_name(out.reshape(batch, length, inner), "mixed")
        return linear(width, (2 * self.depth * inner) ** -0.5, name="o_proj")(mixed), cache, weights


class GatedMlp(nn.Module):
    """``down(activation(gate(x)) * up(x))``."""

    mlp_dim: int
    activation: Callable[[Array], Array]
    depth: int
    compute: ComputeConfig
    lora: LoraConfig | None
    deterministic: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Maps every token by itself."""
        width = x.shape[-1]
        linear = functools.partial(Linear, compute=self.compute, lora=self.lora, deterministic=self.deterministic)
        gate = checkpoint_name(linear(self.mlp_dim, width**-0.5, name="gate_proj")(x), "hidden")
        up = checkpoint_name(linear(self.mlp_dim, width**-0.5, name="up_proj")(x), "hidden")
        std = (2 * self.depth * self.mlp_dim) ** -0.5
        return linear(width, std, name="down_proj")(self.activation(gate) * up)


class Block(nn.Module):
    """One pre-norm layer in the form that ``nn.scan`` takes: carry in, (carry, kept outputs) out.

    Attributes beside those of ``GroupedQueryAttention`` and ``GatedMlp``:
      keep_output: Return the residual stream after this layer.
      keep_attention: Return the attention weights.
      half_input: The embeddings were float16, see ``float16_quirk``.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_base: float
    mlp_dim: int
    activation: Callable[[Array], Array]
    norm_eps: float
    depth: int
    compute: ComputeConfig
    lora: LoraConfig | None = None
    deterministic: bool = True
    keep_output: bool = False
    keep_attention: bool = False
    half_input: bool = False

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
        shared = {"depth": self.depth, "compute": self.compute, "lora": self.lora, "deterministic": self.deterministic}
        attn = GroupedQueryAttention(
            self.num_heads, self.num_kv_heads, self.head_dim, self.rope_base, **shared, name="attn"
        )
        mlp = GatedMlp(self.mlp_dim, self.activation, **shared, name="mlp")
        half = layer == 0 if self.half_input else False
        normed = RmsNorm(self.norm_eps, self.compute, name="attn_norm")(x, half)
        mixed, cache, weights = attn(normed, layer, positions, visible, slot, cache)
        x = checkpoint_name(x + mixed, "middle")
        x = x + mlp(RmsNorm(self.norm_eps, self.compute, name="mlp_norm")(x))
        return (x, cache), (x if self.keep_output else None, weights if self.keep_attention else None)


class Embedder(nn.Module):
    """The table that embeds ids and, transposed, scores them."""

    vocab_size: int
    width: int
    compute: ComputeConfig

    def setup(self):
        """Rows of unit length on average, so that scaled embeddings have variance 1."""
        init, dtype = nn.initializers.normal(self.width**-0.5), self.compute.dtypes["param_dtype"]
        self.table = self.param("table", init, (self.vocab_size, self.width), dtype)

    def __call__(self, ids: Int[Array, "B L"]) -> Float[Array, "B L D"]:
        """Looks ids up."""
        return jnp.asarray(self.table)[ids].astype(self.compute.dtypes["dtype"])

    def logits(self, tokens: Float[Array, "B L D"]) -> Float[Array, "B L v"]:
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
        self.embedder = Embedder(self.config.vocab_size, self.config.width, self.compute)
        self.final_norm = RmsNorm(self.config.norm_eps, self.compute)

    def embed(self, ids: Int[Array, "B L"]) -> Float[Array, "B L D"]:
        """Rows of the table, not yet scaled: ``__call__`` scales text and video rows alike. Ids must be in range."""
        return self.embedder(ids)

    def logits(self, tokens: Float[Array, "B L D"]) -> Float[Array, "B L v"]:
        """Scores of every vocabulary entry after each token, float32 at least; the table is the embedding's own."""
        return self.embedder.logits(tokens)

    @nn.compact
    def __call__(
        self,
        inputs_embeds: Float[Array, "B L D"],
        positions: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        cache: Cache | None = None,
        branch: Int[Array, "B L"] | None = None,
        *,
        keep_outputs: bool = False,
        keep_attention: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """Runs all layers over a run of new tokens.

        A token sees the real ones (``mask``) at or before itself, those in the cache included. Results at masked tokens
        are finite and have no meaning.

        Args:
          inputs_embeds: Text and video rows, not scaled; multiplied by ``sqrt(D)`` here. Float16 rows of a model that
            computes in another dtype are rounded as in the released HiLight, see ``float16_quirk``.
          positions: Rotary position of each token; for left padding ``cumsum(mask) - 1``.
          mask: True for real tokens.
          cache: Keys and values of the tokens before; the new ones are written to slots ``length ..``.
          branch: Of each token: one of branch k > 0 sees those of branch k and of 0 alone. Not with a cache.
          keep_outputs: Also return the residual stream after every layer.
          keep_attention: Also return the attention weights.
          deterministic: No dropout in LoRA's deltas; otherwise the random stream ``dropout`` is needed.

        Returns:
          ``tokens`` [B, L, D], after the final norm; ``cache``, extended by L slots, or None; ``outputs``, None or
          ``depth + 1`` residual streams [B, L, D], the scaled embeddings first, the last one before the final norm;
          ``attention``, None or [depth, B, N, L, S].

        Raises:
          DataError: There are more tokens than the cache has slots.
          ValueError: Branches and a cache are given.
        """
        config, dtype, length = self.config, self.compute.dtypes["dtype"], inputs_embeds.shape[1]
        half_input = inputs_embeds.dtype == jnp.float16 and dtype != jnp.float16
        x = inputs_embeds if half_input else inputs_embeds.astype(dtype)
        x = scale_embeds(x, config.round_embed_scale).astype(dtype)
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
        if branch is not None:
            if cache is not None:
                raise ValueError("branches are for training and have no cache; give one of the two.")
            visible &= (branch[:, None] == 0) | (branch[:, None] == branch[:, :, None])
        block = functools.partial(
            self._scanned() if self.stacked else Block,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            rope_base=config.rope_base,
            mlp_dim=config.mlp_dim,
            activation=config.activation,
            norm_eps=config.norm_eps,
            depth=config.depth,
            compute=self.compute,
            lora=self.lora,
            deterministic=deterministic,
            keep_output=keep_outputs,
            keep_attention=keep_attention,
            half_input=half_input,
        )
        carry = x, entries
        if self.stacked:
            numbers = jnp.arange(config.depth, dtype=jnp.int32)
            (last, entries), (outputs, weights) = block(name="layers")(carry, numbers, positions, visible, slot)
        else:
            kept = []
            for layer in range(config.depth):
                carry, of_layer = block(name=f"layers_{layer}")(carry, layer, positions, visible, slot)
                kept.append(of_layer)
            (last, entries), (outputs, weights) = carry, zip(*kept, strict=True)
            weights = jnp.stack(weights) if keep_attention else None
        return {
            "tokens": self.final_norm(last),
            "cache": None if cache is None else Cache(*entries, mask=key_mask, length=slot + length),
            "outputs": (x, *outputs) if keep_outputs else None,
            "attention": weights,
        }

    def _scanned(self) -> type[nn.Module]:
        """All layers as one scanned layer with stacked parameters."""
        compute, depth = self.compute, self.config.depth
        block = Block  # Written out, everything is kept: a quarter faster on a CPU, where only small models are.
        if compute.remat or not compute.unroll:
            block = nn.remat(Block, prevent_cse=compute.unroll, policy=compute.remat_policy)
        return nn.scan(
            block,
            variable_axes={"params": 0, COLLECTION: 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
            length=depth,
            unroll=depth if compute.unroll else 1,
        )
