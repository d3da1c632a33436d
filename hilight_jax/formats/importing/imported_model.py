"""A foreign checkpoint as a model of ours, and the functions that all importers share."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree, flatten
from hilight_jax.formats.checkpoint_files import Foreign


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model of ours, its weights not yet read.

    Attributes:
      kind: The kind of the checkpoint, in words.
      stage: The stage whose run it stands for.
      model: Sizes: a ``DualEncoderConfig``, ``LongClipConfig`` or ``HiLightConfig``, by ``stage``.
      params: Our tree; leaves are lazy.
      used: Number of arrays that went into it.
      left_over: Arrays that were not needed, by name, with the reason.
      opened: The checkpoints that it came from, by their part in it.
      choices: The decisions of the import, as sentences.
      ancestry: The ancestry that the checkpoint itself records.
      data: The settings of its inputs, where they are known: fields of the stage's data configuration.
    """

    kind: str
    stage: Literal["encoder", "long_clip", "language_model", "chat"]
    model: Any
    params: Tree
    used: int
    left_over: Mapping[str, str]
    opened: Mapping[str, Foreign]
    choices: tuple[str, ...] = ()
    ancestry: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def num_parameters(self) -> int:
        """Number of elements of all arrays."""
        return sum(leaf.size for leaf in flatten(self.params).values())


# Redundant arrays, of any checkpoint.
_EMPTY = (
    (r".*\.position_ids", "positions 0, 1, 2, ... that old versions of transformers stored"),
    (r".*rotary_emb\.inv_freq", "rotary frequencies, which are computed"),
    (r"(input_resolution|context_length|vocab_size)", "a size that OpenAI's archives hold"),
)


def set_aside(
    weights: Mapping[str, LazyArray], patterns: Sequence[tuple[str, str]] = ()
) -> tuple[dict[str, LazyArray], dict[str, str]]:
    """Splits weights into those that an import must use and those that it may leave, with the reason.

    ``patterns`` are expressions of whole names, and why such arrays are not needed; the first that matches counts.
    """
    left = {}
    for name in weights:
        reasons = (reason for pattern, reason in (*_EMPTY, *patterns) if re.fullmatch(pattern, name))
        if reason := next(reasons, None):
            left[name] = reason
    return {name: x for name, x in weights.items() if name not in left}, left


def renamed(weights: Mapping[str, LazyArray], rename: Callable[[str], str]) -> dict[str, LazyArray]:
    """Weights under other names.

    Raises:
      CheckpointError: Two arrays get the same name.
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
    """The number of layers: the numbers that a pattern's group matches must be 0, 1, 2, ...

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
