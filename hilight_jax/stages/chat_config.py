"""The configurations of HiLight's two stages, *align* and *tune*, and of the language model that they build on."""

import dataclasses
from typing import Literal, Self

from hilight_jax.checkpoints.store import KeepConfig
from hilight_jax.core import trees
from hilight_jax.core.config import check, check_same
from hilight_jax.core.errors import ConfigError
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.training.run_config import RunConfig

CHAT_STAGES = ("align", "tune")


@dataclasses.dataclass(frozen=True)
class Sources:
    """The runs that a stage builds on, by working directory.

    Attributes:
      encoder: A run of the encoder; gives CLIP-ViP+'s video tower.
      long_clip: A run of Long-CLIP; gives the frame tower, where the model has one of its own.
      language_model: A run that holds ``gemma``; empty when the stage trains the language model from scratch.
      align: The run of the stage ``align`` that ``tune`` goes on from; gives all parts and the tokenizer.
      which: Their ``best`` or their ``latest`` step.
    """

    encoder: str = ""
    long_clip: str = ""
    language_model: str = ""
    align: str = ""
    which: Literal["best", "latest"] = "latest"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatTrainConfig(RunConfig):
    """A run of the stage ``align`` or ``tune``.

    ``freeze`` lists those of token_mining, word_tracks, gemma and lora that are not trained.

    Attributes:
      stage: ``align`` starts from an encoder and a Long-CLIP, ``tune`` from an aligned model.
      model: All parts of the chat model.
      data: Conversations.
      sources: The runs that it builds on.
      cache_gb: Gigabytes of outputs of these towers to keep on disk, under ``data_dir/tower_cache``, so that a clip is
        encoded once; 0 keeps none. The training is the same either way. Outputs of other towers stay until deleted.
      loss_chunk: Positions of every sample whose logits exist at a time; 0 keeps those of all. The loss is the same.
    """

    stage: Literal["align", "tune"]
    model: HiLightConfig
    data: ConversationDataConfig
    sources: Sources = Sources()
    cache_gb: float = 0.0
    loss_chunk: int = 0

    def __post_init__(self):
        """Checks keys against each other."""
        super().__post_init__()
        towers = ("encoder", "long_clip") if self.model.frames is not None else ("encoder",)
        wanted = {"align": towers, "tune": ("align",)}[self.stage]
        unused = {"align": ("align",), "tune": ("encoder", "long_clip", "language_model")}[self.stage]
        if self.stage == "align" and self.model.frames is None:
            unused += ("long_clip",)
        for name in wanted:
            if not getattr(self.sources, name):
                raise ConfigError(
                    f"config.sources.{name} is empty, but the stage {self.stage} builds on such a run: name its "
                    f"workdir."
                )
        for name in unused:
            if value := getattr(self.sources, name):
                raise ConfigError(
                    f"config.sources.{name} is '{value}', but the stage {self.stage} takes its parts from "
                    f"config.sources.{' and config.sources.'.join(wanted)}; leave it empty."
                )
        if self.init_from is not None:
            raise ConfigError("config.init_from is for encoders; a chat stage takes its parts by config.sources.")
        if self.stage == "align" and not self.sources.language_model and trees.matches("gemma", self.freeze):
            raise ConfigError(
                "config.sources.language_model is empty and config.freeze holds 'gemma': nothing can be aligned to a "
                "language model that never learnt anything; name the workdir of a converted one."
            )
        if self.stage == "align" and self.model.lora is not None:
            raise ConfigError(
                "config.model.lora is for the stage tune; the stage align trains whole parts: leave it out."
            )
        if self.stage == "tune" and self.data.tokenizer:
            raise ConfigError(
                f"config.data.tokenizer is '{self.data.tokenizer}', but the stage tune keeps the tokenizer of the run "
                f"in config.sources.align; leave it empty."
            )
        check(self, "config.", lambda x: x >= 0, "at least 0; 0 keeps nothing", "cache_gb")
        check(self, "config.", lambda x: x >= 0, "at least 0; 0 takes all at once", "loss_chunk")
        check_same(self, "config.", "data.image_size", "model.vision.image_size")
        self._check_word_tracks()
        key_frames, things = self.data.key_frames.count, len(self.data.things or ())
        tokens = self.model.num_video_tokens(key_frames, things)
        if self.data.num_video_tokens != tokens:
            raise ConfigError(
                f"config.data.num_video_tokens is {self.data.num_video_tokens}, but {key_frames} key frames of "
                f"{self.model.token_mining.tokens_per_frame} tokens and {things} things make {tokens}; set it to that."
            )

    def _check_word_tracks(self) -> None:
        """Checks that words have tracks in the model and in its input, of one length."""
        tracks = self.model.word_tracks
        if (tracks is None) != (self.data.things is None):
            raise ConfigError(
                f"config.model.word_tracks is {'not ' if tracks is None else ''}set and config.data.things is "
                f"{self.data.things!r:.60}; set both for word tracks (things may be an empty list), or neither."
            )
        if tracks is not None:
            check_same(self, "config.", "model.word_tracks.num_frames", "data.num_frames")
            check(
                self.data,
                "config.data.",
                lambda x: x <= tracks.max_clips,
                f"at most config.model.word_tracks.max_clips={tracks.max_clips}",
                "max_videos",
            )


@dataclasses.dataclass(frozen=True)
class LanguageModelParts:
    """The only part of a converted language model."""

    gemma: GemmaConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageModelRun:
    """The workdir of a converted language model, a source of other runs; fields as in ``RunConfig``.

    No stage trains a language model without videos.
    """

    stage: Literal["language_model"] = "language_model"
    name: str
    preset: str
    model: LanguageModelParts
    keep: KeepConfig = KeepConfig()

    def with_sources(self) -> Self:
        """Returns itself, as it has no data."""
        return self
