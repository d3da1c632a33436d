"""How far the reading of a model's arrays has come, told to the user."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hilight_jax.core import trees
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.progress import Progress

_MEGABYTE = 10**6


def told(tree: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The same lazy arrays, each of which moves a progress line in megabytes when it is read."""
    flat = trees.flatten(tree)
    progress = Progress(sum(_megabytes(leaf) for leaf in flat.values()), what, "MB")
    return trees.unflatten({path: _told(leaf, progress) for path, leaf in flat.items()})


def _told(leaf: LazyArray, progress: Progress) -> LazyArray:
    def read() -> np.ndarray:
        x = leaf.read()
        progress.update(_megabytes(leaf))
        return x

    return LazyArray(leaf.shape, leaf.dtype, read)


def _megabytes(leaf: LazyArray) -> int:
    return leaf.nbytes // _MEGABYTE
