"""The interfaces of a stage: what ``train``, ``evaluate`` and ``report`` call."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.core.host_rows import HostRows
from hilight_jax.data.pipelines import Loader, Pipeline
from hilight_jax.data.sources import open_source
from hilight_jax.data.tokenizers import VOCABULARY_SIZE
from hilight_jax.generation.video_clip import Zoom
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.steps import Objective

Batches = AbstractContextManager[Iterator[Mapping[str, np.ndarray]]]


class Stage:
    """A stage of training, ready to run: a subclass for each stage, of ``(config, mesh, workdir)``.

    Attributes:
      objective: Its part of the training step.
      given: Parameters that other runs made, by top-level name.
      data: The configuration that examples are loaded by.
      validation: The validation examples; None when the config names none.
    """

    open_examples: Callable[[str], Any] = staticmethod(open_source)
    loader: Callable[[Any, Any, int], Loader]  # Of a configuration, a source and a seed.
    given: Mapping[str, Any] = {}
    validation: Any = None

    def __init__(self, config: Any, mesh: Mesh, objective: Objective):
        """Keeps these; nothing is read yet."""
        self.config, self.mesh, self.objective, self.data = config, mesh, objective, config.data

    def open_source(self) -> Sized:
        """Opens the examples for training and validation; returns the former.

        Raises:
          DataError: The config names none to train on, or those it names are missing.
        """
        if not self.data.train:
            raise DataError(
                "config.data.train names no clips; give a source, e.g. --config.data.train=manifest:clips.jsonl "
                "(docs/your-videos.md describes manifests)."
            )
        self._source = self.open_examples(self.data.train)
        if self.data.validation:
            self.validation = self.open_examples(self.data.validation)
        return self._source

    def prepare(self, workdir: Path) -> None:
        """Writes the run's other files, before the first step and at every resumption; by default there are none."""

    def batches(self, start_step: int) -> Batches:
        """This host's slices of the global batches, from ``start_step`` on."""
        size = self.config.batch_size
        return self.pipeline(self._source).batches(size, start_step, HostRows(self.mesh, size).numbers)

    def pipeline(self, source: Any) -> Pipeline:
        """The batches of a source."""
        seed = self.config.seed
        return Pipeline(self.data, source, self.loader(self.data, source, seed), seed)

    def evaluate(self, params: Mapping[str, Any], step: int) -> dict[str, float]:
        """Figures on the validation examples; none when the config names none."""
        return {} if self.validation is None else self.validate(params)

    def validate(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Figures on the validation examples."""
        raise NotImplementedError

    def name_of(self, index: int) -> str:
        """The name of a training example, for messages."""
        return self._source[index].id


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """Options of ``evaluate``; each evaluator reads those in its ``options`` and the first two.

    Attributes:
      batch_size: Clips or questions of a batch; None takes the run's own.
      num_clips: Only the first clips or conversations; None takes all.
      per_kind: Only the first questions of each kind; None asks all.
      similarity: ``cosine`` or ``dot`` between words and patches; None takes that of the run's local loss.
      word_weight: Weight of words in retrieval; None takes the default.
      shortlist: Candidates of a query that words are compared with; None takes all.
      shuffle_positions: Put the position embeddings of patches in another order.
      zoom: "off", "auto" or a number, for annotated frames; None takes "auto".
      history: Put the earlier turns of its conversation before a question.
      controls: Also show the model other clips.
      max_new_tokens: Longest answer; None takes the default.
      evidence: Questions of each kind whose evidence is measured; None measures none.
      ask: Number of questions to ask about one clip; None evaluates.
    """

    batch_size: int | None = None
    num_clips: int | None = None
    per_kind: int | None = None
    similarity: str | None = None
    word_weight: float | None = None
    shortlist: int | None = None
    shuffle_positions: bool = False
    zoom: Zoom | None = None
    history: bool = False
    controls: bool = True
    max_new_tokens: int | None = None
    evidence: int | None = None
    ask: int | None = None


class Evaluator(Protocol):
    """Evaluates a checkpoint; its constructor takes ``(workdir, which)``.

    An evaluator whose ``options`` hold ``ask`` also is one of ``Asks``.
    """

    kind: str  # In messages, such as "an encoder".
    options: frozenset[str]  # The command's options that it reads beside those of every evaluation.
    table: Callable[[Mapping[str, Any]], str]  # Returns the figures as text.
    config: Any  # Of the run.
    step: int

    def __init__(self, workdir: Path, which: str):
        """Loads the checkpoint."""

    def evaluate(self, specification: str, options: EvaluationOptions) -> dict[str, Any]:
        """Figures on one source; ``answers``, if any, go to a file of their own."""
        ...


class Asks(Protocol):
    """An evaluator whose ``options`` hold ``ask``."""

    def ask(self, specification: str, options: EvaluationOptions) -> tuple[list[Any], str]:
        """Asks ``options.ask`` questions about one clip; returns the answers, and as text."""
        ...


@dataclasses.dataclass(frozen=True)
class PageRequest:
    """Options of ``report``.

    Attributes:
      which: The checkpoint that draws the examples.
      data: Source of the example clips; None takes the run's validation clips.
      num_clips: Number of example clips.
      controls: Tables of control runs; the first that exists is shown.
      overrides: Options that turn the preset's configuration into the run's; None where the preset is unknown.
    """

    which: Literal["best", "latest"] = "latest"
    data: str | None = None
    num_clips: int = 6
    controls: Sequence[Path] = ()
    overrides: Sequence[str] | None = None


def check_texts(config: RunConfig) -> None:
    """Checks that CLIP's tokenizer and the length of the texts fit the text tower.

    Raises:
      ConfigError: The tower has too few token ids or positions.
    """
    tower, length = config.model.text, config.data.text_length
    if tower.vocab_size < VOCABULARY_SIZE:
        raise ConfigError(
            f"config.model.text.vocab_size is {tower.vocab_size}, but the tokenizer's ids reach {VOCABULARY_SIZE - 1}."
        )
    if length > tower.max_length:
        raise ConfigError(f"config.data.text_length is {length}, but the text tower has {tower.max_length} positions.")
