"""Chooses the next token from the scores, greedily or at random within top-k and top-p limits, and scores tokens."""

import dataclasses
import functools
import math
import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError

# Scores divided by much smaller temperatures overflow float32.
_LOWEST = 1e-4

# The sizes of the compiled selections of the best scores, which are far faster than a sort of a large vocabulary; a
# top-k limit uses the next size up. A limit above all of them, and any top-p limit, sorts.
_SELECTIONS = (64, 1024)


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """The choice of an answer's tokens.

    Attributes:
      temperature: 0 takes the best token (the first of equals); otherwise, from 0.0001 on, scores are divided by it
        before drawing.
      top_k: Draw among the best k tokens only; 0 among all.
      top_p: Draw among the best tokens that together have this probability, the one that reaches it included; 1 among
        all. Of what ``top_k`` leaves, as in transformers.
      max_new_tokens: The longest answer.
      seed: A prompt's answer is a function of the prompt and the seed, in any batch.
      stop_ids: Tokens that end an answer; None means the tokenizer's own, and () none.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0
    stop_ids: tuple[int, ...] | None = None

    def __post_init__(self):
        """Checks the numbers, and that a greedy choice has no top-k or top-p."""
        temperatures = f"0 (greedy) or at least {_LOWEST}"
        check(self, "", lambda x: x == 0 or _LOWEST <= x < math.inf, temperatures, "temperature")
        check(self, "", lambda x: x >= 0, "at least 1, or 0 for no limit", "top_k")
        check(self, "", lambda x: 0 < x <= 1, "above 0 and at most 1 (no limit)", "top_p")
        check(self, "", lambda x: x >= 1, "at least 1", "max_new_tokens")
        check(self, "", lambda x: 0 <= x < 2**32, "at least 0 and below 2**32", "seed")
        if self.temperature == 0 and (self.top_k or self.top_p < 1):
            raise ConfigError(
                f"temperature is 0, which always takes the best token, so top_k={self.top_k} and top_p={self.top_p} "
                f"have no effect; set a temperature above 0, or leave them out."
            )


def row_keys(config: SamplingConfig, prompts: Sequence[np.ndarray]) -> Key[Array, " B"]:
    """Makes a random key for each prompt's ids, the same in any batch."""
    key = jax.random.key(config.seed)
    digests = np.array([zlib.crc32(np.ascontiguousarray(ids, np.int32).tobytes()) for ids in prompts], np.uint32)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, digests)


def sample(
    logits: Float[Array, "B vocab"],
    keys: Sequence[Key[Array, " n"]],
    steps: Sequence[int],
    configs: Sequence[SamplingConfig],
) -> Int[Array, " B"]:
    """Chooses the next token of every row.

    Args:
      logits: Scores.
      keys: Joined, one per row, see ``row_keys``; unused in greedy choice.
      steps: Index of each row's token in its answer.
      configs: The choice in each row.
    """
    if all(config.temperature == 0 for config in configs):
        return _best(logits)
    greedy = np.array([config.temperature == 0 for config in configs])
    temperatures = np.array([config.temperature or 1.0 for config in configs], np.float32)
    vocab = logits.shape[-1]
    top_k = np.array([min(config.top_k, vocab) or vocab for config in configs], np.int32)
    top_p = np.array([config.top_p for config in configs], np.float32)
    return _draw(logits, jnp.concatenate(keys), np.array(steps, np.int32), greedy, temperatures, top_k, top_p)


@jax.jit
def token_log_probs(
    logits: Float[Array, "B vocab"], ids: Int[Array, " B"], temperatures: Float[np.ndarray, " temperatures"]
) -> Float[Array, "B temperatures"]:
    """Computes the log-probability of one token in every row, by the softmax of all scores over each temperature.

    Limits and the temperature of a random choice take no part: this is the model's own probability of the token.
    """
    logits = logits.astype(jnp.float32)

    def at(temperature: Array) -> Array:
        return jnp.take_along_axis(jax.nn.log_softmax(logits / temperature), ids[:, None], axis=-1)[:, 0]

    # One temperature after the other: a large vocabulary is never there more than once.
    return jax.lax.map(at, temperatures).T


@functools.partial(jax.jit, static_argnames="count")
def most_likely(
    logits: Float[Array, "B vocab"], temperature: float, count: int
) -> tuple[Int[Array, "B count"], Float[Array, "B count"]]:
    """Returns the ``count`` most likely tokens of every row, the best first, and their log-probabilities."""
    log_probs, ids = jax.lax.top_k(jax.nn.log_softmax(logits.astype(jnp.float32) / temperature), count)
    return ids, log_probs


def limit(
    logits: Float[Array, "B vocab"], top_k: Int[Array, " B"], top_p: Float[Array, " B"]
) -> Float[Array, "B vocab"]:
    """Sets the scores outside ``top_k`` and then ``top_p`` to minus infinity; ties with the last one stay.

    A row with the vocabulary's size as ``top_k`` and 1 as ``top_p`` has no limit; without any limit nothing is sorted.
    """
    vocab = logits.shape[-1]
    largest = jnp.max(jnp.where(top_k < vocab, top_k, 0))
    selections = [functools.partial(_limit_by_selection, min(size, vocab)) for size in _SELECTIONS]
    branches = [lambda logits, *_: logits, *selections, _limit_by_sorting]
    by_top_k = jnp.sum(largest > np.array([0, *_SELECTIONS]))
    branch = jnp.where(jnp.any(top_p < 1), len(branches) - 1, by_top_k)
    return jax.lax.switch(branch, branches, logits, top_k, top_p)


def _limit_by_selection(size: int, logits: Array, top_k: Array, top_p: Array) -> Array:
    """Applies the ``top_k`` of each row up to ``size``; a larger one is no limit, and every ``top_p`` is 1."""
    del top_p
    falling, _ = jax.lax.top_k(logits, size)
    lowest = jnp.take_along_axis(falling, jnp.minimum(top_k, size)[:, None] - 1, axis=-1)
    return jnp.where((logits < lowest) & (top_k <= size)[:, None], -jnp.inf, logits)


def _limit_by_sorting(logits: Array, top_k: Array, top_p: Array) -> Array:
    falling = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
    lowest = jnp.take_along_axis(falling, top_k[:, None] - 1, axis=-1)
    falling = jnp.where(falling < lowest, -jnp.inf, falling)
    probabilities = jax.nn.softmax(falling, axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    reached = jnp.min(jnp.where(before < top_p[:, None], falling, jnp.inf), axis=-1, keepdims=True)
    lowest = jnp.where(top_p[:, None] < 1, jnp.maximum(lowest, reached), lowest)
    return jnp.where(logits < lowest, -jnp.inf, logits)


@jax.jit
def _best(logits: Array) -> Array:
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


@jax.jit
def _draw(
    logits: Array, keys: Array, steps: Array, greedy: Array, temperature: Array, top_k: Array, top_p: Array
) -> Array:
    """Draws within the limits of each row, or takes its best token."""
    scores = limit(logits / temperature[:, None], top_k, top_p)
    drawn = jax.vmap(jax.random.categorical)(jax.vmap(jax.random.fold_in)(keys, steps), scores)
    return jnp.where(greedy, jnp.argmax(logits, axis=-1), drawn).astype(jnp.int32)
