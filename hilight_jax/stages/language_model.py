"""The configuration of a converted language model: it is a source of other runs and is not trained by itself."""

import dataclasses
from typing import Literal, Self

from hilight_jax.checkpoints.store import KeepConfig
from hilight_jax.models.gemma_config import GemmaConfig


@dataclasses.dataclass(frozen=True)
class LanguageModelParts:
    """Its only part.

    Attributes:
      gemma: Sizes of the language model.
    """

    gemma: GemmaConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageModelRun:
    """The configuration of such a working directory; no stage trains a language model without videos.

    Attributes:
      stage: Always ``language_model``.
      name: See ``RunConfig``.
      preset: See ``RunConfig``.
      model: Sizes.
      keep: See ``RunConfig``.
    """

    stage: Literal["language_model"] = "language_model"
    name: str
    preset: str
    model: LanguageModelParts
    keep: KeepConfig = KeepConfig()

    def with_sources(self) -> Self:
        """Returns itself, as it has no data."""
        return self
