"""The input of a chat stage: conversations with the features of their clips."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from hilight_jax.training.towers import Towers

Batch = Mapping[str, np.ndarray]


class Steps(Protocol):
    """An iterator of batches that knows its step and can be closed, as ``data.pipelines.Batches``."""

    step: int

    def __next__(self) -> Batch:
        """Returns the next batch."""
        ...

    def close(self) -> None:
        """Stops reading ahead."""
        ...


class FeatureBatches(Iterator[Batch]):
    """Adds to each batch the features of its clips and ``row``, the numbers of its rows in the endless order."""

    def __init__(self, batches: Steps, towers: Towers, host_index: int = 0, host_count: int = 1):
        """Wraps this host's batches."""
        self._batches, self._towers = batches, towers
        self._host_index, self._host_count = host_index, host_count

    def __next__(self) -> Batch:
        """Returns the next batch."""
        step = self._batches.step
        batch = next(self._batches)
        size = len(batch["ids"])
        first = (step * self._host_count + self._host_index) * size
        row = np.arange(first, first + size, dtype=np.uint32)
        return {**batch, "row": row, **self._towers.features(batch)}

    def __enter__(self) -> "FeatureBatches":
        return self

    def __exit__(self, *_) -> None:
        self._batches.close()
