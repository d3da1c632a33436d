"""Cross entropy of the next token, the language model's loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hilight_jax.core.means import Mean
from hilight_jax.core.shapes import IGNORE_ID
from hilight_jax.losses.vectors import working


def next_token(tokens: Float[Array, "B L D"], to_logits: Callable[[Array], Array], labels: Int[Array, "B L"]) -> Mean:
    """Cross entropy of every label given the row before it, as transformers' causal models.

    Args:
      tokens: The language model's rows after the final norm.
      to_logits: From rows ``[B, R, D]`` to logits ``[B, R, vocabulary]``, such as ``Gemma.logits``. Every row but
        the last gets logits, the largest array of a step: B * L * vocabulary numbers.
      labels: The ids of the sequence itself, not shifted; ``IGNORE_ID`` is not learned.

    Returns:
      Sum over the labels that count, and their number; float32 at least.
    """
    targets = labels[:, 1:]
    logits = working(to_logits(tokens[:, :-1]))
    counted = targets != IGNORE_ID
    wanted = jnp.take_along_axis(logits, jnp.where(counted, targets, 0)[..., None], axis=-1)[..., 0]
    losses = jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - wanted, 0)
    return Mean(jnp.sum(losses), next_token_count(labels).astype(losses.dtype))


def next_token_count(labels: Int[Array, "B L"]) -> Float[Array, ""]:
    """How many labels ``next_token`` counts: the first of a sequence has no row before it."""
    return jnp.sum(labels[:, 1:] != IGNORE_ID, dtype=jnp.float32)
