"""Makes the clips of a split in order, in several processes; the result does not depend on their number.

In held-out splits no two clips may have the same facts: in order, a clip whose facts occurred in an earlier one is made
again with its attempt counted up, until its facts are new.
"""

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from hilight_jax.billiards.clips import Clip, make_clip
from hilight_jax.billiards.encoding import encode_video
from hilight_jax.billiards.worlds import World
from hilight_jax.core.errors import DataError

_CHUNK = 4  # Clips that a worker makes at a time.
_MOST_ATTEMPTS = 1000


class Record(NamedTuple):
    """A clip as it is stored.

    Attributes:
      video: an encoded video of exactly the clip's frames.
      labels: its labels as JSON text, UTF-8.
      facts: as in `Clip.facts`.
    """

    video: bytes
    labels: bytes
    facts: str


def encode_clip(clip: Clip) -> Record:
    """Encodes a clip for storage."""
    times = clip.labels["times"]
    fps = max((len(times) - 1) / times[-1], 0.1) if times[-1] else 1.0
    labels = json.dumps(clip.labels, separators=(",", ":")).encode("utf-8")
    return Record(encode_video(clip.frames, fps), labels, clip.facts)


class Workshop:
    """Worker processes that make clips. Use as a context; leaving it ends the processes."""

    def __init__(self, workers: int):
        """Prepares ``workers`` processes; 1 works in this process.

        They are spawned, not forked: a process that runs JAX has threads, whose locks a fork would copy locked.
        """
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, mp_context=spawn) if workers > 1 else None

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def clips(self, world: World, split: str, numbers: range) -> Iterator[Record]:
        """Makes the clips of these numbers; those of a held-out split must begin at 0.

        Raises:
          DataError: if a held-out split is too large for distinct facts, or a worker was killed.
        """
        records = self._records(functools.partial(_make, world, split), numbers)
        if split == "train":
            return records
        return _telling_new_things(world, split, zip(numbers, records, strict=True))

    def _records(self, make: Callable[[int], Record], numbers: range) -> Iterator[Record]:
        if self._pool is None:
            yield from map(make, numbers)
            return
        try:
            yield from self._pool.map(make, numbers, chunksize=_CHUNK)
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process was killed while it made clips, perhaps for want of memory; finished shards are "
                "kept: start the same command again, with fewer --workers."
            ) from error


def _make(world: World, split: str, number: int, attempt: int = 0) -> Record:
    return encode_clip(make_clip(world, split, number, attempt))


def _telling_new_things(world: World, split: str, records: Iterable[tuple[int, Record]]) -> Iterator[Record]:
    told = set()
    for number, record in records:
        attempt = 0
        while record.facts in told:
            attempt += 1
            if attempt == _MOST_ATTEMPTS:
                raise DataError(f"world '{world.name}' has nothing new to tell after {number} clips of '{split}'.")
            record = _make(world, split, number, attempt)
        told.add(record.facts)
        yield record
