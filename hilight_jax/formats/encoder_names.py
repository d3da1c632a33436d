"""Names of the exported encoder (``formats/exporting/encoder_directory.py``) and our dual encoder's tree, local heads included."""

from collections.abc import Mapping
from typing import Any

from hilight_jax.core.trees import Tree
from hilight_jax.formats import clip_names
from hilight_jax.formats.mapping import LINEAR, Entry, export_weights, import_weights

# The deepest towers have so many tapped levels at most.
_MOST_LEVELS = 64


def _level(i: int) -> tuple[Entry, ...]:
    video = f"video_{i}"
    return (
        Entry(f"local/{video}/kernel", f"local.{video}.weight", LINEAR),
        Entry(f"local/{video}/norm/scale", f"local.{video}.norm.weight"),
        Entry(f"local/{video}/norm/bias", f"local.{video}.norm.bias"),
        Entry(f"local/{video}/fc1/kernel", f"local.{video}.fc1.weight", LINEAR),
        Entry(f"local/{video}/fc1/bias", f"local.{video}.fc1.bias"),
        Entry(f"local/{video}/fc2/kernel", f"local.{video}.fc2.weight", LINEAR),
        Entry(f"local/text_{i}/kernel", f"local.text_{i}.weight", LINEAR),
    )


TABLE: tuple[Entry, ...] = (
    *clip_names.TABLE,
    Entry("local/scale", "local.scale"),
    *(entry for i in range(_MOST_LEVELS) for entry in _level(i)),
)


def to_huggingface(params: Tree) -> dict[str, Any]:
    """Exports our parameters.

    Raises:
      CheckpointError: A parameter has no name there.
    """
    return export_weights(TABLE, params)


def from_huggingface(weights: Mapping[str, Any], template: Tree) -> dict[str, Any]:
    """Imports them again.

    Raises:
      CheckpointError: Names are missing, left over or misshaped; all of them are listed.
    """
    return import_weights(TABLE, weights, template)
