"""Clips that cannot be used: quarantine lists, stand-ins, and the limit on the share that a run may replace."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.annotation_files import read_json_lines, required
from hilight_jax.data.sources import same_file

NUM_STAND_INS = 16
_NAMED = 5


class UnusableClip(NamedTuple):
    """One line of a quarantine list: the specification of the source, the id of the clip in it, and the reason."""

    source: str
    id: str
    reason: str


def read_quarantine(path: str, source: str) -> frozenset[str]:
    """Returns the ids that a quarantine list excludes from a source, given by its specification.

    The list is JSON lines with ``id``, ``reason`` and ``source``; a line without ``source`` applies to every source.
    """
    ids = set()
    for where, entry in read_json_lines(path):
        clip_id = required(entry, "id", str, where)
        if "source" not in entry or same_file(required(entry, "source", str, where), source):
            ids.add(clip_id)
    return frozenset(ids)


def write_quarantine(path: str, clips: Iterable[UnusableClip]) -> None:
    """Writes a quarantine list in ASCII, which keeps ids that are not valid Unicode (names of old files)."""
    with open(path, "w", encoding="ascii") as file:
        for clip in clips:
            file.write(json.dumps(clip._asdict()) + "\n")


def with_stand_ins(index: int, seed: int, num_examples: int) -> Iterator[int]:
    """Yields ``index``, then the numbers of its stand-ins, drawn from (seed, index)."""
    yield index
    rng = np.random.default_rng((seed, index))
    yield from rng.integers(num_examples, size=NUM_STAND_INS).tolist()


class BadClips:
    """Counts the clips that were replaced, and stops a run whose share of them is above the limit.

    Each host counts its own clips; the counts are added up and checked at the same steps on all hosts.

    Attributes:
      seen: Clips so far; with several hosts, those of all hosts at the last check.
      count: Those of them that were replaced.
      truncated: Those of them whose caption was cut to the model's length.
    """

    def __init__(
        self,
        source: str,
        name_of: Callable[[int], str],
        max_fraction: float,
        patience: int = 256,
        gather: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        """Starts counting.

        Errors name ``source``, a specification, and clips by ``name_of`` their numbers. The share of replaced clips is
        checked after ``patience`` clips on each host. ``gather`` maps the integers of this host, [n], to those of all
        hosts, [H, n]; None for a single host.
        """
        self._source, self._name_of = source, name_of
        self._max_fraction, self._patience = max_fraction, patience
        self._gather = gather
        self._rows = 0
        self._own = np.zeros(3, np.int64)  # Seen, replaced, truncated.
        self.seen = self.count = self.truncated = 0
        self._indices: dict[int, None] = {}

    def update(self, batch: Mapping[str, np.ndarray], counted: np.ndarray | slice = slice(None)) -> None:
        """Counts the ``counted`` rows of a batch; no other host counts them.

        Raises:
          DataError: The share of replaced clips is above the limit after ``patience`` clips.
        """
        replaced, truncated = batch["replaced"][counted], batch["truncated"][counted]
        self._rows += len(batch["replaced"])
        self._own += replaced.size, replaced.sum(), truncated.sum()
        self._indices |= dict.fromkeys(batch["index"][counted][replaced].tolist())
        if self._gather is None:
            self.seen, self.count, self.truncated = self._own.tolist()
        if self._rows >= self._patience:
            if self._gather is not None:  # Hosts wait for each other at a check, so checks become rarer.
                self._patience *= 2
            self.finish()

    def finish(self) -> None:
        """Checks the share at the end of a run; all hosts must call it.

        Raises:
          DataError: The share of replaced clips is above the limit.
        """
        named = list(self._indices)[:_NAMED]
        if self._gather is not None:
            places = np.array(named + [-1] * (_NAMED - len(named)), np.int64)
            all_hosts = self._gather(np.concatenate([self._own, places]))
            self.seen, self.count, self.truncated = all_hosts[:, :3].sum(0).tolist()
            named = [index for index in all_hosts[:, 3:].ravel().tolist() if index >= 0][:_NAMED]
        if self.count > self._max_fraction * self.seen:
            names = ", ".join(self._name_of(i) for i in named)
            raise DataError(
                f"{self.count} of {self.seen} clips of {self._source} could not be used "
                f"(config.data.max_bad_fraction allows {self._max_fraction:.0%}), among them {names}; "
                f"run 'python -m hilight_jax.check {self._source} --quarantine FILE' and set "
                "config.data.quarantine=FILE."
            )
