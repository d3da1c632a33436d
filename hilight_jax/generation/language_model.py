"""The language model of a chat: reads runs of tokens into a cache and scores what may come next."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.trees import Tree
from hilight_jax.models.gemma import Cache, init_cache, unstack_layers
from hilight_jax.models.hilight import HiLight, HiLightConfig, count_positions, variables
from hilight_jax.models.lora import COLLECTION


class Decoder:
    """Gemma with a cache, its layers apart from each other.

    Where the layers are a loop over stacked weights, a CPU copies each layer's weights before it multiplies with them,
    and one token takes six times as long; written out over views of the same memory it runs at the speed at which
    weights can be read.
    """

    def __init__(self, config: HiLightConfig, params: Tree):
        """Takes the language model, and the deltas if there are any, out of a model's parameters.

        Args:
          config: Sizes of the model.
          params: Its parts, layers stacked. Arrays on a CPU are shared, not copied.
        """
        self._model = HiLight(config, stacked=False)
        parts: dict[str, Any] = {"gemma": unstack_layers(params["gemma"])}
        if COLLECTION in params:
            parts[COLLECTION] = {"gemma": unstack_layers(params[COLLECTION]["gemma"])}
        self._variables = variables(jax.device_put(parts))
        self._dtype = config.compute.dtypes["dtype"]

    @property
    def variables(self) -> dict[str, Any]:
        """The weights as they are used, layer by layer."""
        return self._variables

    def empty_cache(self, batch: int, num_slots: int) -> Cache:
        """A cache that nothing was read into."""
        return init_cache(self._model.config.gemma, batch, num_slots, self._dtype)

    def read(
        self, ids: np.ndarray, video_tokens: np.ndarray, mask: np.ndarray, first: int, cache: Cache
    ) -> tuple[Float[Array, "B vocab"], Cache]:
        """Reads a run of tokens.

        Args:
          ids: int32 [B, L], expanded: ``VIDEO_ID`` at rows of clips; padded on the left.
          video_tokens: [B, rows, D], what fills those rows, in order.
          mask: bool [B, L], True for real rows.
          first: Position of each row's first real token: how many real ones are in the cache already.
          cache: What was read before; it is used up.

        Returns:
          Scores of what may follow each row's last token, and the cache with the run in it.
        """
        return _read(self._model, self._variables, ids, video_tokens, mask, np.int32(first), cache)

    def read_one(
        self, ids: Int[Array, " B"], positions: np.ndarray, cache: Cache
    ) -> tuple[Float[Array, "B vocab"], Cache]:
        """Reads one more token of every row, at int32 ``positions`` [B]; ``cache`` is used up."""
        return _read_one(self._model, self._variables, ids, positions, cache)

    def attention(
        self, ids: np.ndarray, video_tokens: np.ndarray, mask: np.ndarray, first: int, cache: Cache
    ) -> tuple[Float[Array, "B L S"], Cache]:
        """Reads a run as ``read`` does and returns where each row looked, mean over layers and heads."""
        return _attention(self._model, self._variables, ids, video_tokens, mask, np.int32(first), cache)


@functools.partial(jax.jit, static_argnums=0, donate_argnames="cache")
def _read(
    model: HiLight,
    params: Tree,
    ids: Int[Array, "B L"],
    video_tokens: Float[Array, "B rows D"],
    mask: Bool[Array, "B L"],
    first: Int[Array, ""],
    cache: Cache,
) -> tuple[Array, Cache]:
    embeds = model.apply(params, ids, video_tokens, method="embed")
    return _scores(model, params, embeds, count_positions(mask) + first, mask, cache)


@functools.partial(jax.jit, static_argnums=0, donate_argnames="cache")
def _read_one(
    model: HiLight, params: Tree, ids: Int[Array, " B"], positions: Int[Array, " B"], cache: Cache
) -> tuple[Array, Cache]:
    no_video = jnp.zeros((len(ids), 0, model.config.gemma.width))
    embeds = model.apply(params, ids[:, None], no_video, method="embed")
    return _scores(model, params, embeds, positions[:, None], jnp.ones((len(ids), 1), bool), cache)


@functools.partial(jax.jit, static_argnums=0, donate_argnames="cache")
def _attention(
    model: HiLight, params: Tree, ids: Array, video_tokens: Array, mask: Array, first: Array, cache: Cache
) -> tuple[Array, Cache]:
    embeds = model.apply(params, ids, video_tokens, method="embed")
    positions = count_positions(mask) + first
    out = model.apply(params, embeds, positions, mask, cache, method="language", keep_attention=True)
    return jnp.mean(out["attention"], axis=(0, 2)), out["cache"]


def _scores(
    model: HiLight, params: Tree, embeds: Array, positions: Array, mask: Array, cache: Cache
) -> tuple[Array, Cache]:
    """Reads a run of embedded tokens; scores of what follows the last one."""
    out = model.apply(params, embeds, positions, mask, cache, method="language")
    return model.apply(params, out["tokens"][:, -1:], method="logits")[:, 0], out["cache"]
