"""Clips that cannot be used: the list of those known before, and the count of those met on the way."""

import json
from collections.abc import Iterable, Mapping

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.manifest import read_json_lines, required
from hilight_jax.data.records import Source

_NAMED = 5


def read_quarantine(path: str) -> frozenset[str]:
    """Returns the ids of a quarantine list: JSON lines with ``id`` and ``reason``."""
    return frozenset(required(entry, "id", str, where) for where, entry in read_json_lines(path))


def write_quarantine(path: str, reasons: Iterable[tuple[str, str]]) -> None:
    """Writes a quarantine list from pairs of id and reason."""
    with open(path, "w", encoding="utf-8") as file:
        for clip_id, reason in reasons:
            file.write(json.dumps({"id": clip_id, "reason": reason}, ensure_ascii=False) + "\n")


class BadClips:
    """Counts the clips that were replaced, and stops a run in which there are too many."""

    def __init__(self, source: Source, max_fraction: float, patience: int = 256):
        """Starts counting.

        Args:
          source: Where the clips come from; names those in the error.
          max_fraction: Share of replaced clips that is still accepted.
          patience: Clips to see before the share is judged.
        """
        self._source, self._max_fraction, self._patience = source, max_fraction, patience
        self._seen = self.count = 0
        self._indices: dict[int, None] = {}

    def update(self, batch: Mapping[str, np.ndarray]) -> None:
        """Counts a batch's ``replaced`` clips.

        Raises:
          DataError: Their share of all clips seen so far is too high.
        """
        replaced = batch["replaced"]
        self._seen += replaced.size
        self.count += int(replaced.sum())
        self._indices |= dict.fromkeys(batch["index"][replaced].tolist())
        if self._seen >= self._patience and self.count > self._max_fraction * self._seen:
            names = ", ".join(self._source[i].id for i in list(self._indices)[:_NAMED])
            raise DataError(
                f"{self.count} of {self._seen} clips of {self._source.name} could not be used "
                f"(config.data.max_bad_fraction allows {self._max_fraction:.0%}), among them {names}; "
                f"run 'python -m hilight_jax.check {self._source.name} --quarantine FILE' and set "
                "config.data.quarantine=FILE."
            )
