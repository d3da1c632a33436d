"""The stage ``long_clip``: Long-CLIP on frames with long and short texts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.host_rows import HostRows, on_mesh
from hilight_jax.data.images import ImageTextLoader
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.data.records import Source
from hilight_jax.data.sources import open_source
from hilight_jax.evals.retrieval import RECALLS, retrieval_metrics
from hilight_jax.stages.long_clip_objective import LongClipObjective, LongClipTrainConfig
from hilight_jax.stages.stage import Batches, training_specification

_READ = ("image", "long_ids", "short_ids")


class LongClipStage:
    """See ``Stage``."""

    given: Mapping[str, Any] = {}

    def __init__(self, config: LongClipTrainConfig, mesh: Mesh, workdir: Path):
        """Builds the objective; nothing is read yet."""
        self.config, self._mesh = config, mesh
        self.objective = LongClipObjective(config, mesh)
        self._embed = on_mesh(mesh, self.objective.embed)
        self._source: Source | None = None
        self._validation: Source | None = None

    def open_source(self) -> Source:
        """Opens training and validation images; returns the former."""
        self._source = open_source(training_specification(self.config))
        if self.config.data.validation:
            self._validation = open_source(self.config.data.validation)
        return self._source

    def prepare(self, workdir: Path) -> None:
        """Long-CLIP keeps nothing beside its checkpoints."""

    def batches(self, start_step: int) -> Batches:
        """Images and texts, as ``Pipeline`` says."""
        size = self.config.batch_size
        return self._pipeline(self._source).batches(size, start_step, HostRows(self._mesh, size).numbers)

    def evaluate(self, params: Mapping[str, Any], step: int) -> dict[str, float]:
        """Retrieval of validation images by their long texts, and the reverse."""
        if self._validation is None:
            return {}
        found: dict[str, list[np.ndarray]] = {"image": [], "long": []}
        with self._pipeline(self._validation).eval_batches(self.config.eval_batch_size) as batches:
            for batch in batches:
                embeds = self._embed(params, {name: batch[name] for name in _READ})
                for name, parts in found.items():
                    parts.append(embeds[name][batch["valid"]])
        images, texts = (np.concatenate(parts) for parts in found.values())
        ranks = retrieval_metrics(images, texts, np.arange(len(texts)))["plain"]
        named = {"text_to_video": "long_text_to_image", "video_to_text": "image_to_long_text"}
        return {f"validation/{named[way]}_r{k}": figures[f"R@{k}"] for way, figures in ranks.items() for k in RECALLS}

    def _pipeline(self, source: Source) -> Pipeline:
        config = self.config
        return Pipeline(config.data, source, ImageTextLoader(config.data, source, config.seed), config.seed)

    def name_of(self, index: int) -> str:
        """The id of an image."""
        return self._source[index].id
