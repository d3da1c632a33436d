"""The stages ``align`` and ``tune``: HiLight's language side on conversations, over frozen towers."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.host_rows import HostRows
from hilight_jax.core.means import Mean
from hilight_jax.core.mesh import batch_shards, replicated
from hilight_jax.core.mesh_context import under_mesh
from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.conversations.sources import ConversationSource, open_conversations
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.models.hilight import TOWER_PARTS
from hilight_jax.runs.provenance import fingerprint
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.chat_input import FeatureBatches
from hilight_jax.stages.chat_objective import ChatObjective
from hilight_jax.stages.chat_parts import gather_parts, keep_provenance
from hilight_jax.stages.chat_tokenizer import TOKENIZER, keep_tokenizer
from hilight_jax.stages.frozen_towers import Towers
from hilight_jax.stages.stage import Batches, training_specification
from hilight_jax.stages.tower_cache import TowerCache


class ChatStage:
    """See ``Stage``."""

    def __init__(self, config: ChatTrainConfig, mesh: Mesh, workdir: Path):
        """Loads the parts that the run builds on: those its ``workdir`` names, else those of ``config.sources``.

        Raises:
          CheckpointError: A source is missing, is of another stage or does not fit the model.
        """
        self.config, self._mesh = config, mesh
        parts, self._origins = gather_parts(config, workdir)
        towers = {name: parts.pop(name) for name in TOWER_PARTS if name in parts}
        cache = None
        if config.cache_gb:
            name = fingerprint({**towers, "dtype": np.zeros(0, config.model.compute.dtypes["dtype"])})
            cache = TowerCache(Path(config.data_dir) / "tower_cache", name, config.cache_gb * 1e9)
        self._towers = Towers(config.model, towers, cache)
        self.given: Mapping[str, Any] = parts
        self.objective = ChatObjective(config)
        self._judge = jax.jit(under_mesh(mesh, self._figures), out_shardings=replicated(mesh))
        self._tokenizer = workdir / TOKENIZER
        self._source: ConversationSource | None = None
        self._validation: ConversationSource | None = None

    def open_source(self) -> ConversationSource:
        """Opens the conversations for training and validation; returns the former."""
        self._source = open_conversations(training_specification(self.config))
        if self.config.data.validation:
            self._validation = open_conversations(self.config.data.validation)
        return self._source

    def prepare(self, workdir: Path) -> None:
        """Keeps the tokenizer and the origins of all parts in the workdir."""
        keep_provenance(workdir, self._origins)
        keep_tokenizer(self.config, workdir)

    def batches(self, start_step: int) -> Batches:
        """Conversations with the features of their clips."""
        config = self.config
        rows = HostRows(self._mesh, config.batch_size).numbers
        batches = self._pipeline(self._source).batches(config.batch_size, start_step, rows)
        return FeatureBatches(batches, self._towers, config.batch_size, rows)

    def evaluate(self, params: Mapping[str, Any], step: int) -> dict[str, float]:
        """Loss, and the share of conversations answered right token by token, on the validation conversations."""
        if self._validation is None:
            return {}
        total: dict[str, Mean] = {}
        size = -(-self.config.eval_batch_size // batch_shards(self._mesh)) * batch_shards(self._mesh)
        rows = HostRows(self._mesh, size)
        with self._pipeline(self._validation).eval_batches(size, rows.numbers) as batches:
            for batch in batches:
                arrays = {name: batch[name] for name in ("ids", "mask", "labels")} | self._towers.features(batch)
                placed = {name: rows.place(x) for name, x in arrays.items()}
                for name, mean in self._judge(params, placed).items():
                    total[name] = total[name] + mean if name in total else mean
        return {f"validation/{name}": float(mean.value()) for name, mean in total.items()}

    def name_of(self, index: int) -> str:
        """The id of a conversation."""
        return self._source.conversation(index, None).id

    def _pipeline(self, source: ConversationSource) -> Pipeline:
        data = dataclasses.replace(self.config.data, tokenizer=str(self._tokenizer))
        return Pipeline(data, source, ConversationLoader(data, source, self.config.seed), self.config.seed)

    def _figures(self, params: Mapping[str, Any], batch: Mapping[str, jax.Array]) -> dict[str, Mean]:
        return self.objective.validation_terms(params, batch)
