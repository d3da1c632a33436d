"""The language model with its key-value cache: reads runs of tokens and scores the next one.

A program is compiled for each length of a run and each size of a cache, so both are rounded up to a few values.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.trees import Tree
from hilight_jax.models.gemma_decoding import Cache, init_cache, unstack_layers
from hilight_jax.models.hilight import HiLight, count_positions, variables
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.lora import COLLECTION
from hilight_jax.ops.vectors import at_least_float32


class LanguageModel:
    """Gemma with a cache and unstacked layers.

    In a loop over stacked weights, a CPU copies each layer's weights before it multiplies with them, and a token takes
    six times as long. Unstacked layers are views of the same memory and run at the speed at which weights can be read.

    Attributes:
      variables: The unstacked weights.
    """

    def __init__(self, config: HiLightConfig, params: Tree):
        """Takes Gemma, and its deltas if there are any, out of a model's parameters; shares the arrays of a CPU."""
        self._model = HiLight(config, stacked=False)
        parts: dict[str, Any] = {"gemma": unstack_layers(params["gemma"])}
        if COLLECTION in params:
            parts[COLLECTION] = {"gemma": unstack_layers(params[COLLECTION]["gemma"])}
        self.variables = variables(jax.device_put(parts))
        self._dtype = config.compute.dtypes["dtype"]

    def empty_cache(self, batch: int, num_slots: int) -> Cache:
        """Makes an empty cache."""
        return init_cache(self._model.config.gemma, batch, num_slots, self._dtype)

    def read(
        self,
        ids: np.ndarray,
        video_tokens: np.ndarray,
        carried: np.ndarray | None,
        mask: np.ndarray,
        first: int,
        cache: Cache,
    ) -> tuple[Float[Array, "B vocab"], Cache]:
        """Reads a run of tokens.

        Args:
          ids: int32 [B, L], expanded: ``VIDEO_ID`` at rows of clips; padded on the left.
          video_tokens: [B, rows, D], the vectors of those rows, in order.
          carried: [B, L, D], added to the rows' embeddings; None adds nothing.
          mask: bool [B, L], True for real rows.
          first: Position of each row's first real token: the number of real tokens in the cache.
          cache: The tokens read before; donated.

        Returns:
          Scores of the token after each row's last one, and the cache with the run in it.
        """
        return _read(self._model, self.variables, ids, video_tokens, carried, mask, np.int32(first), cache)

    def read_one(
        self, ids: Int[Array, " B"], positions: np.ndarray, cache: Cache
    ) -> tuple[Float[Array, "B vocab"], Cache]:
        """Reads one more token of every row, at int32 ``positions`` [B]; ``cache`` is donated."""
        return _read_one(self._model, self.variables, ids, positions, cache)

    def contributions(
        self,
        ids: np.ndarray,
        video_tokens: np.ndarray,
        carried: np.ndarray | None,
        mask: np.ndarray,
        answer: np.ndarray,
    ) -> tuple[Float[Array, "B L"], Float[Array, "B L"]]:
        """Computes what each row contributes to the log-probability of an answer, to first order.

        A contribution is the size of the product of a vector with the gradient of the log-probability in it.

        Args:
          ids: As for ``read``, all but the last token of the answer included.
          video_tokens: As for ``read``.
          carried: As for ``read``.
          mask: As for ``read``.
          answer: int32 [B, n], n <= L, the answer's tokens, the last one last; -1 is padding on the left.

        Returns:
          The contributions of the rows' own embeddings, and of what they carry.
        """
        return _contributions(self._model, self.variables, ids, video_tokens, carried, mask, answer)


@dataclasses.dataclass(frozen=True, eq=False)
class PrefixCache:
    """The cache of one conversation, kept so that its next turn is read from the first new row.

    Attributes:
      rows: The rows that were read, see ``Prompt.rows``.
      slots: The cache's slot of each row; padding leaves holes.
      cache: Keys and values of this conversation alone (B = 1).
    """

    rows: list[int | str]
    slots: list[int]
    cache: Cache

    def shared_length(self, rows: Sequence[int | str]) -> int:
        """Counts the first rows that another conversation has in common with this one."""
        pairs = enumerate(zip(self.rows, rows, strict=False))
        return next((i for i, (own, other) in pairs if own != other), min(len(self.rows), len(rows)))

    def truncate(self, count: int, num_slots: int) -> tuple[Cache, int]:
        """Returns a cache of the first ``count`` rows alone, and its first free slot.

        Args:
          count: At least 1.
          num_slots: Free slots needed behind those rows; a cache with fewer grows to the next size.
        """
        used, cache = self.slots[count - 1] + 1, self.cache
        missing = slot_count(used + num_slots) - cache.mask.shape[1]
        if missing > 0:
            k, v = (jnp.pad(x, [(0, 0), (0, 0), (0, missing), (0, 0), (0, 0)]) for x in (cache.k, cache.v))
            cache = Cache(k, v, jnp.pad(cache.mask, [(0, 0), (0, missing)]), cache.length)
        # Stale later slots are harmless: a query attends to no slot behind its own, and each is overwritten by then.
        return dataclasses.replace(cache, length=jnp.int32(used)), used


def bucket_length(length: int) -> int:
    """Rounds a run up to 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, ...: four sizes an octave, at most a quarter more."""
    step = 4
    while 8 * step < length:
        step *= 2
    return max(16, -(-length // step) * step)


def slot_count(length: int) -> int:
    """Rounds a cache up to a power of two, at least 16: a spare slot is cheap, another program is not."""
    return max(16, 1 << (length - 1).bit_length())


@functools.partial(jax.jit, static_argnums=0, donate_argnames="cache")
def _read(
    model: HiLight,
    params: Tree,
    ids: Int[Array, "B L"],
    video_tokens: Float[Array, "B rows D"],
    carried: Float[Array, "B L D"] | None,
    mask: Bool[Array, "B L"],
    first: Int[Array, ""],
    cache: Cache,
) -> tuple[Array, Cache]:
    embeds = model.apply(params, ids, video_tokens, carried, method="embed")
    return _scores(model, params, embeds, count_positions(mask) + first, mask, cache)


@functools.partial(jax.jit, static_argnums=0, donate_argnames="cache")
def _read_one(
    model: HiLight, params: Tree, ids: Int[Array, " B"], positions: Int[Array, " B"], cache: Cache
) -> tuple[Array, Cache]:
    no_video = jnp.zeros((len(ids), 0, model.config.gemma.width))
    embeds = model.apply(params, ids[:, None], no_video, method="embed")
    return _scores(model, params, embeds, positions[:, None], jnp.ones((len(ids), 1), bool), cache)


@functools.partial(jax.jit, static_argnums=0)
def _contributions(
    model: HiLight,
    params: Tree,
    ids: Int[Array, "B L"],
    video_tokens: Float[Array, "B rows D"],
    carried: Float[Array, "B L D"] | None,
    mask: Bool[Array, "B L"],
    answer: Int[Array, "B n"],
) -> tuple[Array, Array]:
    embeds: Array = model.apply(params, ids, video_tokens, method="embed")
    added = jnp.zeros_like(embeds) if carried is None else carried.astype(embeds.dtype)

    def log_prob(rows: Array) -> Array:
        out: dict[str, Any] = model.apply(params, rows, count_positions(mask), mask, method="language")
        logits: Array = model.apply(params, out["tokens"][:, -answer.shape[1] :], method="logits")
        own = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(answer, 0)[..., None], axis=-1)[..., 0]
        return jnp.sum(jnp.where(answer >= 0, own, 0))

    gradient = at_least_float32(jax.grad(log_prob)(embeds + added))
    own, more = (jnp.abs(jnp.einsum("BLD,BLD->BL", gradient, at_least_float32(x))) for x in (embeds, added))
    return jnp.where(mask, own, 0), jnp.where(mask, more, 0)


def _scores(
    model: HiLight, params: Tree, embeds: Array, positions: Array, mask: Array, cache: Cache
) -> tuple[Array, Cache]:
    """Reads a run of embedded tokens and scores the token after the last one."""
    out: dict[str, Any] = model.apply(params, embeds, positions, mask, cache, method="language")
    logits: Array = model.apply(params, out["tokens"][:, -1:], method="logits")
    return logits[:, 0], out["cache"]
