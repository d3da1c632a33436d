"""Prefetches batches to the devices: a thread reads and places a few ahead, so that no step waits for a copy."""

import collections
import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple


class Placed(NamedTuple):
    """A batch, as it was read and as it is on the devices."""

    host: Mapping[str, Any]
    device: Mapping[str, Any]


class DeviceBatches(Iterator[Placed], contextlib.AbstractContextManager):
    """A context that prefetches until it is closed; a failure is raised at the ``next`` of its batch."""

    def __init__(
        self, batches: Iterator[Mapping[str, Any]], place: Callable[[Mapping], Mapping[str, Any]], depth: int = 2
    ):
        """Starts to read ``batches``, this host's rows; ``place`` puts them on its devices, ``depth`` ahead."""
        self._batches, self._place = batches, place
        self._thread = ThreadPoolExecutor(1, "device batches")
        self._ahead: collections.deque[Future[Placed]] = collections.deque(
            self._thread.submit(self._read) for _ in range(depth)
        )

    def __next__(self) -> Placed:
        """Returns the next batch, blocks until it is placed."""
        self._ahead.append(self._thread.submit(self._read))
        return self._ahead.popleft().result()

    def __exit__(self, *_) -> None:
        """Stops, at the end of the batch that is being read."""
        self._thread.shutdown(cancel_futures=True)

    def _read(self) -> Placed:
        batch = next(self._batches)
        return Placed(batch, self._place(batch))
