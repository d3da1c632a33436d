"""The stages ``align`` and ``tune``: HiLight's language side on conversations, over frozen towers."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hilight_jax.checkpoints.store import name_report
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.host_rows import HostRows
from hilight_jax.core.means import Mean
from hilight_jax.core.mesh import batch_shards, replicated, under_mesh
from hilight_jax.core.shapes import IGNORE_ID
from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.conversations.sources import open_conversations
from hilight_jax.losses.next_token import (
    learned_rows,
    likeliest_in_chunks,
    next_token,
    next_token_count,
    next_token_in_chunks,
)
from hilight_jax.models.hilight import HiLight, param_shapes, parts, variables
from hilight_jax.models.hilight_config import PARTITION_RULES, TOWER_PARTS
from hilight_jax.models.word_tracks import WordInputs
from hilight_jax.runs.provenance import fingerprint
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.chat_parts import TOKENIZER, gather_parts, keep_provenance, keep_tokenizer
from hilight_jax.stages.frozen_towers import FEATURES, TowerCache, Towers, feature_shapes
from hilight_jax.stages.stage import Stage
from hilight_jax.training.steps import Objective

TEXTS = ("ids", "mask", "positions", "branch")  # What the model reads of a conversation's text.
Batch = Mapping[str, np.ndarray]


class ChatObjective(Objective):
    """Next-token prediction with token mining, Gemma and its LoRA deltas."""

    partition_rules = PARTITION_RULES
    weights: Mapping[str, float] = {"next_token": 1.0}

    def __init__(self, config: ChatTrainConfig):
        """Builds the model of ``config``; no tower is needed, the shapes of their features follow from it."""
        self.config = config
        self.model = HiLight(config.model)
        data, side = config.data, config.data.image_size
        clip = (data.num_frames, side, side, 3)
        self._features = feature_shapes(config.model, clip, data.key_frames.count, data.things)

    def init_params(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters of every part but the towers; no LoRA without ``config.model.lora``."""
        batch = {name: jnp.asarray(x) for name, x in self.example_batch(1).items()}
        return parts(self.model.init(key, **self._inputs(batch), method="language_model_parts"))

    def loss_terms(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, Mean]:
        """The cross entropy of every token that has a label, and the share of them that comes out right."""
        collections = variables(params)
        dropout = {}
        if "lora" in collections:
            dropout = {"rngs": {"dropout": jax.random.fold_in(jax.random.key(self.config.seed), batch["row"][0])}}
        tokens = self.model.apply(collections, **self._inputs(batch), deterministic=not dropout, **dropout)
        return {"next_token": self._next_token(collections, *learned_rows(tokens, batch["labels"], batch["learned"]))}

    def validation_terms(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, Mean]:
        """The loss without dropout, and the answers whose every token is the likeliest one after the true ones."""
        collections = variables(params)
        labels = batch["labels"]
        tokens: jax.Array = self.model.apply(collections, **self._inputs(batch))
        if self.config.loss_chunk:
            right = likeliest_in_chunks(tokens, _table(collections), labels, *self._chunks)
        else:
            right = jnp.argmax(self._logits(collections)(tokens[:, :-1]), -1) == labels[:, 1:]
        return {
            "next_token": self._next_token(collections, tokens, labels),
            "answers_right": answers_right(right, labels[:, 1:] != IGNORE_ID),
        }

    def loss_counts(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The number of labels of the batch, without the first position."""
        return {"next_token": next_token_count(batch["labels"])}

    def example_batch(self, batch_size: int) -> dict[str, np.ndarray]:
        """A batch of the right shapes and dtypes, made of nothing: of the longest bucket, with room to learn it all."""
        data = self.config.data
        ids = np.zeros((batch_size, max(data.buckets)), np.int32)
        features = {
            name: np.zeros((batch_size, data.max_videos, *x.shape), x.dtype) for name, x in self._features.items()
        }
        row = np.zeros(batch_size, np.uint32)
        numbers = np.tile(np.arange(ids.shape[1], dtype=np.int32), (batch_size, 1))
        texts = {"ids": ids, "mask": ids == 0, "labels": ids, "positions": numbers, "branch": ids}
        batch = {**texts, "learned": numbers[:, :-1], "row": row, **features}
        if self.config.model.word_tracks is not None:
            names = np.zeros((batch_size, len(data.things or ()), 1), np.int32)
            batch |= {"word_rows": ids, "thing_ids": names}
        return batch

    def _inputs(self, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """The model's arguments out of a batch."""
        inputs: dict[str, Any] = {name: batch[name] for name in (*TEXTS, *FEATURES)}
        if self.config.model.word_tracks is not None:
            inputs["words"] = WordInputs(**{name: batch[name] for name in WordInputs._fields})
        return inputs

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


class ChatStage(Stage):
    """Trains on conversations and the features of their clips."""

    loader = ConversationLoader
    open_examples = staticmethod(open_conversations)

    def __init__(self, config: ChatTrainConfig, mesh: Mesh, workdir: Path):
        """Loads the parts that the run builds on: those its ``workdir`` names, else those of ``config.sources``.

        Raises:
          CheckpointError: A source is missing, is of another stage or does not fit the model.
        """
        objective = ChatObjective(config)
        super().__init__(config, mesh, objective)
        self.data = dataclasses.replace(config.data, tokenizer=str(workdir / TOKENIZER))
        parts, self._origins = gather_parts(config, workdir)
        towers = {name: parts.pop(name) for name in TOWER_PARTS if name in parts}
        cache = None
        if config.cache_gb:
            dtype = np.zeros(0, config.model.compute.dtypes["dtype"])
            name = fingerprint({**towers, "dtype": dtype, "settings": _text_array(tower_settings(config))})
            cache = TowerCache(Path(config.data_dir) / "tower_cache", name, config.cache_gb * 1e9)
        shapes = {name: shape for name, shape in param_shapes(config.model).items() if name in towers}
        if complaints := name_report(shapes, towers):
            raise CheckpointError(f"the towers do not fit config.model: {'; '.join(complaints)}.")
        self._towers = Towers(config.model, towers, cache, things=config.data.things)
        self.given = parts
        self._judge = jax.jit(under_mesh(mesh, objective.validation_terms), out_shardings=replicated(mesh))

    def prepare(self, workdir: Path) -> None:
        """Keeps the tokenizer and the origins of all parts in the workdir."""
        keep_provenance(workdir, self._origins)
        keep_tokenizer(self.config, workdir)

    @contextlib.contextmanager
    def batches(self, start_step: int) -> Iterator[Iterator[Batch]]:
        """Adds the features of the clips and ``row``, the numbers of the rows in the endless order."""
        size = self.config.batch_size
        rows = HostRows(self.mesh, size).numbers
        with super().batches(start_step) as batches:
            yield (
                {**batch, "row": (step * size + rows).astype(np.uint32), **self._towers.features(batch)}
                for step, batch in enumerate(batches, start_step)
            )

    def validate(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Loss, and the share of conversations answered right token by token, on the validation conversations."""
        total: dict[str, Mean] = {}
        size = -(-self.config.eval_batch_size // batch_shards(self.mesh)) * batch_shards(self.mesh)
        rows = HostRows(self.mesh, size)
        with self.pipeline(self.validation).eval_batches(size, rows.numbers) as batches:
            of_words = ("word_rows", "thing_ids") if self.data.things is not None else ()
            for batch in batches:
                arrays = {name: batch[name] for name in (*TEXTS, "labels", *of_words)} | self._towers.features(batch)
                placed = {name: rows.place(x) for name, x in arrays.items()}
                for name, mean in self._judge(params, placed).items():
                    total[name] = total[name] + mean if name in total else mean
        return {f"validation/{name}": float(mean.value()) for name, mean in total.items()}

    def name_of(self, index: int) -> str:
        """The id of a conversation."""
        return self._source.conversation(index, None).id


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


def tower_settings(config: ChatTrainConfig) -> str:
    """The settings that the features of a clip depend on, beside the towers' parameters."""
    model = config.model
    towers = {name: to_dict(getattr(model, name)) for name in ("vision", "frames", "text", "local")}
    sharpness = None if model.word_tracks is None else model.word_tracks.sharpness
    return f"{towers} {config.data.things} {sharpness} {model.compute.attention}"


def _text_array(text: str) -> np.ndarray:
    """A text as numbers, for a fingerprint."""
    return np.frombuffer(text.encode(), np.uint8)


def _table(collections: Mapping[str, Any]) -> jax.Array:
    """The embeddings, which score the tokens too."""
    return collections["params"]["gemma"]["embedder"]["table"]
