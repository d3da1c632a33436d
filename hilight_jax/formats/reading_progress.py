"""How far the reading of a model's arrays has come, told to the user."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hilight_jax.core import trees
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.progress import Progress

_MEGABYTE = 10**6


def told(tree: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The same lazy arrays, which move a progress line in megabytes as they are read."""
    flat = trees.flatten(tree)
    reading = _Reading(sum(leaf.nbytes for leaf in flat.values()), what)
    return trees.unflatten({path: reading.watch(leaf) for path, leaf in flat.items()})


class _Reading:
    def __init__(self, total: int, what: str):
        self._progress = Progress(-(-total // _MEGABYTE), what, "MB")
        self._total, self._read, self._shown = total, 0, 0

    def watch(self, leaf: LazyArray) -> LazyArray:
        """A leaf that is counted when it is read."""

        def read() -> np.ndarray:
            x = leaf.read()
            self._read += leaf.nbytes
            done = -(-self._read // _MEGABYTE) if self._read >= self._total else self._read // _MEGABYTE
            if done > self._shown:
                self._progress.update(done - self._shown)
                self._shown = done
            return x

        return LazyArray(leaf.shape, leaf.dtype, read)
