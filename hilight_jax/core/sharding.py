"""Shardings from path rules: every parameter must match exactly one rule and divide evenly, or an error names it."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.trees import Tree, map_with_path

# A regular expression for the whole path of a parameter, and the mesh axes of its *last* dimensions.
Rule = tuple[str, tuple[str | None, ...]]


def partition_spec(path: str, shape: Sequence[int], rules: Sequence[Rule], mesh: Mesh) -> PartitionSpec:
    """Returns the spec of one parameter.

    Raises:
      ConfigError: No rule or more than one matches, the rule is longer than the shape, or an axis does not divide.
    """
    found = [axes for pattern, axes in rules if re.fullmatch(pattern, path)]
    if len(found) != 1:
        raise ConfigError(
            f"parameter '{path}' with shape {tuple(shape)} matches {len(found)} partition rules, but must match "
            f"exactly one; mend PARTITION_RULES in the model file that names it."
        )
    axes = found[0]
    if len(axes) > len(shape):
        raise ConfigError(f"the partition rule of '{path}' names {len(axes)} axes, but its shape is {tuple(shape)}.")
    spec = (None,) * (len(shape) - len(axes)) + tuple(axes)
    for size, axis in zip(shape, spec, strict=True):
        if axis is not None and size % mesh.shape[axis]:
            raise ConfigError(
                f"parameter '{path}' with shape {tuple(shape)} does not divide over mesh axis '{axis}' of "
                f"{mesh.shape[axis]} devices; choose a mesh.{axis} that divides {size}."
            )
    return PartitionSpec(*spec)


def shardings(tree: Tree, rules: Sequence[Rule], mesh: Mesh) -> dict[str, Any]:
    """Returns a tree of ``NamedSharding`` like ``tree`` (of arrays or of ``jax.ShapeDtypeStruct``)."""
    return map_with_path(lambda path, x: NamedSharding(mesh, partition_spec(path, x.shape, rules, mesh)), tree)


def like(tree: Any, reference: Tree, reference_shardings: Tree, mesh: Mesh) -> Any:
    """Shardings for a tree that holds copies of ``reference`` among other leaves, as an optimiser's state does.

    A leaf whose path ends in a parameter's path and that has its shape gets the parameter's sharding; every other
    leaf (step counts, schedules) is replicated.
    """
    shapes = {_names(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(reference)}
    placed = {_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(reference_shardings)}

    def place(path, leaf):
        names = _names(path)
        for start in range(len(names)):
            tail = names[start:]
            if shapes.get(tail) == leaf.shape:
                return placed[tail]
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(place, tree)


def _names(path: tuple) -> tuple[str, ...]:
    """The keys of a tree path as strings."""
    return tuple(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def storage_axes(
    leaves: Mapping[str, Any], rules: Sequence[Rule], count: int, smallest: int
) -> dict[str, tuple[int, int]]:
    """Chooses the axis and number of pieces, by path, in which arrays are stored: a piece for each of ``count`` hosts.

    The axis is the one that a mesh's ``fsdp`` splits, else ``tensor``; arrays with fewer than ``smallest`` numbers, or
    whose axis does not divide, stay whole.
    """
    cuts = {}
    for path, leaf in leaves.items():
        found = [axes for pattern, axes in rules if re.fullmatch(pattern, path)]
        axes = found[0] if found else ()
        named = next((name for name in ("fsdp", "tensor") if name in axes), None)
        if named is None or math.prod(leaf.shape) < smallest:
            continue
        axis = len(leaf.shape) - len(axes) + axes.index(named)
        if leaf.shape[axis] % count == 0:
            cuts[path] = (axis, count)
    return cuts
