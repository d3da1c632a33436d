"""What both chat stages train: the next token of the model's answers, given features of frozen towers."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.core.means import Mean
from hilight_jax.core.shapes import IGNORE_ID
from hilight_jax.losses.next_token import next_token, next_token_count
from hilight_jax.losses.next_token_chunks import likeliest_in_chunks, next_token_in_chunks
from hilight_jax.models.hilight import PARTITION_RULES, HiLight, parts, variables
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.frozen_towers import FEATURES, feature_shapes


class ChatObjective:
    """Next-token prediction with token mining, Gemma and its LoRA deltas."""

    partition_rules = PARTITION_RULES
    weights: Mapping[str, float] = {"next_token": 1.0}
    block_size = 1

    def __init__(self, config: ChatTrainConfig):
        """Builds the model of ``config``; no tower is needed, the shapes of their features follow from it."""
        self.config = config
        self.model = HiLight(config.model)
        data, side = config.data, config.data.image_size
        self._features = feature_shapes(config.model, (data.num_frames, side, side, 3), data.key_frames.count)

    def init_params(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters of every part but the towers; no LoRA without ``config.model.lora``."""
        batch = {name: jnp.asarray(x) for name, x in self.example_batch(1).items()}
        arguments = [batch[name] for name in ("ids", "mask", *FEATURES)]
        return parts(self.model.init(key, *arguments, method="language_model_parts"))

    def finish_init(self, params: dict[str, Any]) -> dict[str, Any]:
        """Nothing starts from anything else."""
        return params

    def loss_terms(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, Mean]:
        """The cross entropy of every token that has a label, and the share of them that comes out right."""
        collections = variables(params)
        dropout = {}
        if "lora" in collections:
            dropout = {"rngs": {"dropout": jax.random.fold_in(jax.random.key(self.config.seed), batch["row"][0])}}
        arguments = [batch[name] for name in ("ids", "mask", *FEATURES)]
        tokens = self.model.apply(collections, *arguments, deterministic=not dropout, **dropout)
        return {"next_token": self._next_token(collections, tokens, batch["labels"])}

    def validation_terms(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, Mean]:
        """The loss without dropout, and the answers whose every token is the likeliest one after the true ones."""
        collections = variables(params)
        labels = batch["labels"]
        tokens = self.model.apply(collections, *(batch[name] for name in ("ids", "mask", *FEATURES)))
        if self.config.loss_chunk:
            right = likeliest_in_chunks(tokens, _table(collections), labels, *self._chunks)
        else:
            right = jnp.argmax(self._logits(collections)(tokens[:, :-1]), -1) == labels[:, 1:]
        return {
            "next_token": self._next_token(collections, tokens, labels),
            "answers_right": answers_right(right, labels[:, 1:] != IGNORE_ID),
        }

    def loss_counts(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """How many labels the batch has; the first position is nobody's next."""
        return {"next_token": next_token_count(batch["labels"])}

    def clamp(self, params: dict[str, Any]) -> dict[str, Any]:
        """Nothing is clamped."""
        return params

    def example_batch(self, batch_size: int) -> dict[str, np.ndarray]:
        """A batch of the right shapes and dtypes, made of nothing, of the longest bucket."""
        data = self.config.data
        ids = np.zeros((batch_size, max(data.buckets)), np.int32)
        features = {
            name: np.zeros((batch_size, data.max_videos, *x.shape), x.dtype) for name, x in self._features.items()
        }
        row = np.zeros(batch_size, np.uint32)
        return {"ids": ids, "mask": ids == 0, "labels": ids, "row": row, **features}

    def _next_token(self, collections: Mapping[str, Any], tokens: jax.Array, labels: jax.Array) -> Mean:
        if self.config.loss_chunk:
            unroll = self.config.model.compute.unroll
            return next_token_in_chunks(tokens, _table(collections), labels, *self._chunks, unroll)
        return next_token(tokens, self._logits(collections), labels)

    @property
    def _chunks(self) -> tuple[int, Any]:
        """Positions of a chunk, and the dtype that logits are products of."""
        return self.config.loss_chunk, self.config.model.compute.dtypes["dtype"]

    def _logits(self, collections: Mapping[str, Any]) -> Callable[[jax.Array], jax.Array]:
        return lambda tokens: self.model.apply(collections, tokens, method="logits")


def _table(collections: Mapping[str, Any]) -> jax.Array:
    """The embeddings, which score the tokens too."""
    return collections["params"]["gemma"]["embedder"]["table"]


def answers_right(right: jax.Array, labelled: jax.Array) -> Mean:
    """Answers, which are runs of labelled tokens, that are right in every token.

    Args:
      right: bool [B, L]; whether each token is the likeliest.
      labelled: bool [B, L].
    """
    starts = labelled & ~jnp.pad(labelled, ((0, 0), (1, 0)))[:, :-1]
    answer = jnp.cumsum(starts.reshape(-1))
    wrong = jax.ops.segment_sum((labelled & ~right).reshape(-1).astype(jnp.int32), answer, num_segments=answer.size + 1)
    count = jnp.sum(starts)
    whole = (wrong == 0) & (jnp.arange(wrong.size) >= 1) & (jnp.arange(wrong.size) <= count)
    return Mean(jnp.sum(whole).astype(jnp.float32), count.astype(jnp.float32))
