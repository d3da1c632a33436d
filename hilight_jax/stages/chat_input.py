"""The input of a chat stage: conversations with the features of their clips."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from hilight_jax.stages.frozen_towers import Towers

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

    def __init__(self, batches: Steps, towers: Towers, batch_size: int, rows: np.ndarray):
        """Wraps this host's ``rows`` of batches of ``batch_size``."""
        self._batches, self._towers = batches, towers
        self._batch_size, self._rows = batch_size, rows

    def __next__(self) -> Batch:
        """Returns the next batch."""
        step = self._batches.step
        batch = next(self._batches)
        row = (step * self._batch_size + self._rows).astype(np.uint32)
        return {**batch, "row": row, **self._towers.features(batch)}

    def __enter__(self) -> "FeatureBatches":
        return self

    def __exit__(self, *_) -> None:
        self._batches.close()
