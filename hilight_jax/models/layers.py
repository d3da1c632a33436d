"""The transformer encoder of the CLIP towers: pre-norm blocks, quick GELU, stacked parameters.

Parameters of all layers are stacked on a leading axis (``encoder/layers/...``) whatever the compute options are, so a
checkpoint does not depend on them.

Letters: B batch, S tokens, D width of the tower.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import platform, split_over_batch
from hilight_jax.core.sharding import Rule
from hilight_jax.ops.fused_attention import KERNEL

# torch's default, which CLIP-ViP uses without reading its config; flax's 1e-6 is visibly wrong on small embeddings.
LAYER_NORM_EPSILON = 1e-5

# Paths below a tower. The width axis of every large matrix is split over fsdp; 12 heads do not divide over tensor.
ENCODER_PARTITION_RULES: tuple[Rule, ...] = (
    (r"encoder/layers/self_attn/(q|k|v)_proj/kernel", ("fsdp", None)),
    (r"encoder/layers/self_attn/out_proj/kernel", (None, "fsdp")),
    (r"encoder/layers/mlp/fc1/kernel", ("fsdp", None)),
    (r"encoder/layers/mlp/fc2/kernel", (None, "fsdp")),
    (r"encoder/layers/(self_attn/\w+|mlp/\w+)/bias", ()),
    (r"encoder/layers/layer_norm[12]/(scale|bias)", ()),
)


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
    """Compute options of a model; none of them changes the parameters' layout.

    Attributes:
      dtype: Of activations; ``auto`` is bfloat16 on TPU and GPU and float32 on CPU.
      param_dtype: Of parameters.
      unroll: Write the layers out one after the other instead of as a loop. On CPU the loop is faster (b32, 12 layers:
        1.4 times) and compiles 5 times faster: written out, XLA fuses the residual gradients of all layers.
      remat: Keep only each layer's input for the backward pass. Otherwise a loop keeps the results of matrix products
        and computes norms, softmax and GELU again, which costs nothing measurable there and saves half of the
        activations' memory; layers that are written out keep everything.
      remat_keeps: With ``remat``, the values of a layer that are kept beside its input: ``qkv``, queries, keys and
        values; ``mixed``, the result of attention; ``middle``, the residual stream after attention; ``hidden``, the
        MLP's wide layer. The first three cost six times the memory of the input and save most of the recomputation.
      attention: Of the video tower: ``plain`` products, the ``fused`` kernel of a TPU (on a CPU it runs as
        plain operations, slowly), or ``auto``, which is fused on a TPU wherever the kernel takes the shape.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "float32"
    param_dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    unroll: bool = False
    remat: bool = False
    remat_keeps: tuple[Literal["qkv", "mixed", "middle", "hidden"], ...] = ()
    attention: Literal["auto", "plain", "fused"] = "auto"

    def __post_init__(self):
        """Refuses an option without effect."""
        if self.remat_keeps and not self.remat:
            raise ConfigError(
                f"compute.remat_keeps is {list(self.remat_keeps)}, but without compute.remat every product is kept; "
                f"set compute.remat=True."
            )

    @property
    def remat_policy(self) -> Callable[..., bool]:
        """The values of a layer that are kept for the backward pass, for ``nn.remat``."""
        policies = jax.checkpoint_policies
        if self.remat:
            return policies.save_only_these_names(*self.remat_keeps)
        return policies.save_from_both_policies(policies.dots_saveable, policies.save_only_these_names(KERNEL))

    @property
    def dtypes(self) -> dict[str, Any]:
        """Keyword arguments ``dtype`` and ``param_dtype`` of a flax layer."""
        dtype = self.dtype
        if dtype == "auto":
            dtype = "float32" if platform() == "cpu" else "bfloat16"
        if "float64" in (dtype, self.param_dtype) and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
            raise ConfigError("compute.dtype or param_dtype is float64, which needs the environment JAX_ENABLE_X64=1.")
        return {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype(self.param_dtype)}


def check_sizes(tower: str, config: Any, names: Sequence[str]) -> None:
    """Raises a ConfigError unless these fields of a tower's config are at least 1."""
    check(config, f"{tower}.", lambda x: x >= 1, "at least 1", *names)


def check_multiples(tower: str, config: Any, pairs: Mapping[str, str]) -> None:
    """Raises a ConfigError unless each of these fields of a tower's config is a multiple of its partner."""
    for name, divisor in pairs.items():
        if getattr(config, name) % getattr(config, divisor):
            raise ConfigError(
                f"{tower}.{name} is {getattr(config, name)}, but must be a multiple of "
                f"{tower}.{divisor}={getattr(config, divisor)}."
            )


def layer_norm(compute: ComputeConfig, name: str | None = None) -> nn.LayerNorm:
    """LayerNorm over the last axis with CLIP's epsilon; the variance is taken about the mean, in float32 at least."""
    return nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, use_fast_variance=False, name=name, **compute.dtypes)


def projection(width: int, fan_in: int, compute: ComputeConfig, name: str | None = None) -> nn.Dense:
    """A linear map without bias, initialised as CLIP initialises its projections."""
    init = nn.initializers.normal(fan_in**-0.5)
    return nn.Dense(width, use_bias=False, kernel_init=init, name=name, **compute.dtypes)


def quick_gelu(x: Array) -> Array:
    """OpenAI's approximation of GELU, ``x * sigmoid(1.702 x)``."""
    return x * jax.nn.sigmoid(1.702 * x)


class SelfAttention(nn.Module):
    """Multi-head attention with separate biased projections; ``attend`` mixes the heads' values."""

    num_heads: int
    depth: int
    attend: Callable[..., Array]
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B S D"], *operands: Array) -> Float[Array, "B S D"]:
        """Calls ``attend(q, k, v, *operands)`` on ``[B, S, D]``."""
        width = x.shape[-1]

        def dense(name, std):
            return nn.Dense(width, kernel_init=nn.initializers.normal(std), name=name, **self.compute.dtypes)

        std = width**-0.5
        q, k, v = (checkpoint_name(dense(f"{name}_proj", std * (2 * self.depth) ** -0.5)(x), "qkv") for name in "qkv")
        return dense("out_proj", std)(checkpoint_name(self.attend(q, k, v, *operands), "mixed"))


class Mlp(nn.Module):
    """Two biased linear maps with quick GELU between them."""

    mlp_dim: int
    depth: int
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        """Maps every token by itself."""
        width = x.shape[-1]
        wide = nn.initializers.normal((2 * width) ** -0.5)
        narrow = nn.initializers.normal((2 * self.depth * width) ** -0.5)
        x = checkpoint_name(nn.Dense(self.mlp_dim, kernel_init=wide, name="fc1", **self.compute.dtypes)(x), "hidden")
        return nn.Dense(width, kernel_init=narrow, name="fc2", **self.compute.dtypes)(quick_gelu(x))


class EncoderBlock(nn.Module):
    """One pre-norm layer, in the form that ``nn.scan`` takes: carry in, (carry, kept output) out."""

    num_heads: int
    mlp_dim: int
    depth: int
    attend: Callable[..., Array]
    keep_output: bool
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B S D"], *operands: Array) -> tuple[Array, Array | None]:
        """Adds attention, then the MLP, to the residual stream."""
        attn = SelfAttention(self.num_heads, self.depth, self.attend, self.compute, name="self_attn")
        x = checkpoint_name(x + attn(layer_norm(self.compute, "layer_norm1")(x), *operands), "middle")
        mlp = Mlp(self.mlp_dim, self.depth, self.compute, name="mlp")
        x = x + mlp(layer_norm(self.compute, "layer_norm2")(x))
        return x, x if self.keep_output else None


class Encoder(nn.Module):
    """A stack of ``depth`` blocks with parameters stacked under ``layers``."""

    depth: int
    num_heads: int
    mlp_dim: int
    compute: ComputeConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "B S D"], attend: Callable[..., Array], *operands: Array, keep_outputs: bool = False
    ) -> tuple[Float[Array, "B S D"], tuple[Array, ...] | None]:
        """Runs the stack.

        Args:
          x: The residual stream.
          attend: ``attend(q, k, v, *operands)`` on tokens [B, S, D] that hold their heads in a row.
          *operands: Arrays that every layer's attention takes, such as the text mask.
          keep_outputs: Also return the output of every block, first to last.
        """
        compute = self.compute
        block = EncoderBlock  # Written out, everything is kept: faster on a CPU, and XLA itself keeps the memory low.
        if compute.remat or not compute.unroll:
            block = nn.remat(EncoderBlock, prevent_cse=compute.unroll, policy=compute.remat_policy)
        stacked = nn.scan(
            block,
            variable_axes={"params": 0, "intermediates": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.depth,
            unroll=self.depth if compute.unroll else 1,
        )
        layers = stacked(self.num_heads, self.mlp_dim, self.depth, attend, keep_outputs, compute, name="layers")
        x, outputs = layers(split_over_batch(x), *operands)
        return x, tuple(outputs) if keep_outputs else None
