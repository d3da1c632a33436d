"""Which program computes the attention of a video tower."""

import functools
from collections.abc import Callable

from jaxtyping import Array

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh_context import platform
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.ops.attention import over_heads, proxy_attention
from hilight_jax.ops.fused_attention import fused_proxy_attention, suits


def choose_attention(
    shape: tuple[int, ...], num_heads: int, num_proxy_tokens: int, num_frames: int, compute: ComputeConfig
) -> Callable[..., Array]:
    """Returns proxy-guided attention, a function of queries, keys and values [B, S, D].

    Args:
      shape: B, S = M + F * P and D.
      num_heads: N.
      num_proxy_tokens: M.
      num_frames: F.
      compute: Its ``attention`` decides.

    Raises:
      ConfigError: The fused kernel is asked for where it cannot run, or for a shape that it does not take.
    """
    device, value_bytes = platform(), compute.dtypes["dtype"].itemsize
    fits = suits(shape[1], num_proxy_tokens, num_frames, shape[2], shape[2] // num_heads, value_bytes)
    if compute.attention == "fused" and not (fits and device in ("cpu", "tpu")):
        raise ConfigError(
            f"compute.attention is 'fused', but {num_frames} frames, {num_proxy_tokens} proxies, {shape[1]} tokens "
            f"of width {shape[2]} and {num_heads} heads on a {device} are not for the kernel; use 'plain' or 'auto'."
        )
    if compute.attention == "fused" or (compute.attention == "auto" and fits and device == "tpu"):
        return functools.partial(
            fused_proxy_attention,
            num_heads=num_heads,
            num_proxy_tokens=num_proxy_tokens,
            num_frames=num_frames,
            interpret=device == "cpu",
        )
    sizes = {"num_proxy_tokens": num_proxy_tokens, "num_frames": num_frames}
    return over_heads(functools.partial(proxy_attention, **sizes), num_heads)
