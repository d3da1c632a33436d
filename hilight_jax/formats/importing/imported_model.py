"""What an importer makes of somebody else's checkpoint."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree
from hilight_jax.formats.checkpoint_files import Foreign
from hilight_jax.models.hilight import HiLightConfig
from hilight_jax.models.long_clip import LongClipConfig
from hilight_jax.models.video_text import DualEncoderConfig


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model of ours, its weights not yet read.

    Attributes:
      kind: What the checkpoint was, in words.
      stage: The stage whose run it takes the place of.
      model: Sizes.
      params: Our tree; leaves are lazy.
      used: How many arrays went into it.
      left_over: Arrays that were not needed, by name, and why.
      opened: The checkpoints that it came from, by what they are to it.
      choices: What was decided on the way, sentences.
      ancestry: What the checkpoint itself says about where it comes from.
      data: How its inputs were made, where that is known: fields of the stage's data configuration.
    """

    kind: str
    stage: Literal["encoder", "long_clip", "language_model", "chat"]
    model: DualEncoderConfig | LongClipConfig | HiLightConfig
    params: Tree
    used: int
    left_over: Mapping[str, str]
    opened: Mapping[str, Foreign]
    choices: tuple[str, ...] = ()
    ancestry: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# Arrays that carry nothing, wherever they are met.
_EMPTY = (
    (r".*\.position_ids", "positions 0, 1, 2, ... that old versions of transformers stored"),
    (r".*rotary_emb\.inv_freq", "rotary frequencies, which are computed"),
    (r"(input_resolution|context_length|vocab_size)", "a size that OpenAI's archives hold"),
)


def set_aside(
    weights: Mapping[str, LazyArray], patterns: Sequence[tuple[str, str]] = ()
) -> tuple[dict[str, LazyArray], dict[str, str]]:
    """Splits weights into those that an import must use, all of them, and those that it may leave, with the reason.

    Args:
      weights: Arrays by name.
      patterns: Expressions of whole names, and why such arrays are not needed, beside those that never are.
    """
    left = {}
    for name in weights:
        for pattern, reason in (*_EMPTY, *patterns):
            if re.fullmatch(pattern, name):
                left[name] = reason
                break
    return {name: x for name, x in weights.items() if name not in left}, left


def renamed(weights: Mapping[str, LazyArray], rename: Callable[[str], str]) -> dict[str, LazyArray]:
    """Weights under other names.

    Raises:
      CheckpointError: Two arrays come to one name.
    """
    found: dict[str, LazyArray] = {}
    for name, x in weights.items():
        if rename(name) in found:
            raise CheckpointError(f"'{name}' and another array are both '{rename(name)}' without wrappers' prefixes; "
                                  f"keep the one that is meant.")  # fmt: skip
        found[rename(name)] = x
    return found


def shape_of(weights: Mapping[str, LazyArray], name: str, ndim: int) -> tuple[int, ...]:
    """The shape of an array that sizes are read from.

    Raises:
      CheckpointError: It is missing, or has another number of axes.
    """
    if name not in weights:
        raise CheckpointError(f"'{name}' is missing, from which the size of the model is read.")
    shape = tuple(weights[name].shape)
    if len(shape) != ndim:
        raise CheckpointError(f"'{name}' has shape {shape}, but must have {ndim} axes.")
    return shape


def count_layers(weights: Mapping[str, LazyArray], pattern: str) -> int:
    """How many layers there are: the numbers that a pattern's group finds must be 0, 1, 2, ...

    Raises:
      CheckpointError: There are none, or one is missing.
    """
    found = {int(match[1]) for name in weights if (match := re.fullmatch(pattern, name))}
    absent = next(layer for layer in range(len(found) + 1) if layer not in found)
    if not found or absent < len(found):
        raise CheckpointError(f"the layers are not whole: no array named '{pattern}' for layer {absent}.")
    return len(found)


def fields(config: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """An object inside a parsed config.json; empty where there is none."""
    for name in path:
        config = config.get(name) or {}
    return config if isinstance(config, Mapping) else {}
