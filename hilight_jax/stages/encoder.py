"""The stage ``encoder``: CLIP-ViP+ on clips and captions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from hilight_jax.core.host_rows import HostRows
from hilight_jax.data.clips import ClipLoader
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.data.records import Source
from hilight_jax.data.sources import open_source
from hilight_jax.evals.evaluation import evaluate_encoder, headline
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.encoder_objective import EncoderObjective
from hilight_jax.stages.stage import Batches, training_specification
from hilight_jax.stages.trained_encoder import Encoder


class EncoderStage:
    """See ``Stage``."""

    given: Mapping[str, Any] = {}

    def __init__(self, config: EncoderTrainConfig, mesh: Mesh, workdir: Path):
        """Builds the objective; nothing is read yet."""
        self.config, self._mesh = config, mesh
        self.objective = EncoderObjective(config, mesh)
        self._source: Source | None = None
        self._validation: tuple[Encoder, Source] | None = None

    def open_source(self) -> Source:
        """Opens training and validation clips; returns the former."""
        self._source = open_source(training_specification(self.config))
        if self.config.data.validation:
            self._validation = Encoder(self.config, mesh=self._mesh), open_source(self.config.data.validation)
        return self._source

    def prepare(self, workdir: Path) -> None:
        """An encoder keeps nothing beside its checkpoints."""

    def batches(self, start_step: int) -> Batches:
        """Clips and captions, as ``Pipeline`` says."""
        config = self.config
        loader = ClipLoader(config.data, self._source, config.seed)
        pipeline = Pipeline(config.data, self._source, loader, config.seed)
        return pipeline.batches(config.batch_size, start_step, HostRows(self._mesh, config.batch_size).numbers)

    def evaluate(self, params: Mapping[str, Any], step: int) -> dict[str, float]:
        """Retrieval and grounding on the validation clips."""
        if self._validation is None:
            return {}
        encoder, source = self._validation
        encoder.params = params
        return headline(evaluate_encoder(encoder, source), "validation")

    def name_of(self, index: int) -> str:
        """The id of a clip."""
        return self._source[index].id
