"""What an exporter is given: a whole model, its weights not yet read, and where it comes from."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from hilight_jax.core.trees import Tree
from hilight_jax.data.config import DataConfig
from hilight_jax.data.conversations.config import ConversationDataConfig
from hilight_jax.models.hilight import HiLightConfig
from hilight_jax.models.video_text import DualEncoderConfig


@dataclasses.dataclass(frozen=True)
class ExportedEncoder:
    """CLIP-ViP+: both towers, projections and whatever local heads it has.

    Attributes:
      config: Sizes.
      params: Our tree; leaves are numpy or ``LazyArray``.
      data: How its clips and texts were made: frames, size, tokens of a text.
      similarity: How words and patches were compared in training: ``cosine`` (across clips) or ``dot`` (within a clip).
    """

    config: DualEncoderConfig
    params: Tree
    data: DataConfig
    similarity: Literal["cosine", "dot"] = "cosine"


@dataclasses.dataclass(frozen=True)
class ExportedChat:
    """A chat model.

    Attributes:
      config: Sizes; ``lora`` is None when ``params`` holds no adapter.
      params: Parts by name: vision, frames or visual_projection, token_mining, gemma and perhaps lora. Leaves are numpy
        or ``LazyArray``, layers stacked.
      data: How its conversations were made: frames, size, key frames, rows of a clip, longest context.
      tokenizer: Path of its ``tokenizer.model``.
      extra: Of the towers' own runs, what the chat model does not use but the original's files hold, in their trees:
        ``encoder`` (without ``vision``) and ``long_clip`` (without ``frames``); empty where those runs are not there.
    """

    config: HiLightConfig
    params: Tree
    data: ConversationDataConfig
    tokenizer: Path
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
