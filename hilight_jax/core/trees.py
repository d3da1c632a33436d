"""Trees of named arrays: flattening to paths, splitting by path, counting."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

Tree = Mapping[str, Any]


def flatten(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """Returns ``{'vision/layers/...': leaf}``, in the order of the tree."""
    flat = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of ``flatten``."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def map_with_path(function: Callable[[str, Any], Any], tree: Tree) -> dict[str, Any]:
    """Applies ``function(path, leaf)`` to every leaf."""
    return unflatten({path: function(path, leaf) for path, leaf in flatten(tree).items()})


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Returns True if a regular expression matches the whole path or a leading part that ends at a ``/``."""
    return any(re.match(rf"(?:{pattern})(?:/|$)", path) for pattern in patterns)


def split(tree: Tree, patterns: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits a tree into ``(leaves whose path matches a pattern, the rest)``."""
    patterns = tuple(patterns)
    flat = flatten(tree)
    chosen = {path: leaf for path, leaf in flat.items() if matches(path, patterns)}
    rest = {path: leaf for path, leaf in flat.items() if path not in chosen}
    return unflatten(chosen), unflatten(rest)


def merge(*trees: Tree) -> dict[str, Any]:
    """Joins trees with disjoint paths; the inverse of ``split``."""
    flat: dict[str, Any] = {}
    for tree in trees:
        flat |= flatten(tree)
    return unflatten(flat)


def count(tree: Any) -> int:
    """Number of scalars in all arrays of a tree."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
