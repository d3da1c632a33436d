"""A pool of worker processes with a time limit for each item, because a decoder can hang.

``serving/videos/decoding.py`` has another mechanism because the isolation differs: it decodes strangers' uploads, each
in a new process without keys and with limits of memory and CPU, while ``check`` reads a user's own files by the
thousand and cannot start an interpreter for each, so its workers are reused and have the user's rights.
"""

import multiprocessing
import multiprocessing.connection
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from hilight_jax.core.errors import UserError

_STARTED = None  # A worker sends this when it starts on an item; results come in a tuple.


class Outcome(NamedTuple):
    """The outcome of one item.

    Attributes:
      item: The item.
      result: What the function returned, or None.
      failure: The reason why there is no result (time limit, crashed process), or an empty string.
    """

    item: Any
    result: Any
    failure: str = ""


class _Worker:
    """One process that works on one item at a time, over a pipe."""

    def __init__(self, function: Callable[[Any], Any]):
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, far_end), daemon=True)
        self.process.start()
        far_end.close()
        self.item: Any = None
        self.began: float | None = None

    def give(self, item: Any) -> bool:
        """Sends an item; returns False if the process died while it was idle."""
        self.item, self.began = item, None
        try:
            self.pipe.send(item)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def map_timed(
    function: Callable[[Any], Any], items: Sequence[Any], num_workers: int, time_limit: float
) -> Iterator[Outcome]:
    """Yields the outcome of ``function(item)`` for every item, in the order in which they finish.

    A worker that takes more than ``time_limit`` seconds for an item, or crashes, is replaced by a fresh one; only its
    item is lost. The function, which is called in the workers, and the items must pickle.

    Raises:
      UserError: There would be no worker, or no time for an item.
    """
    if num_workers < 1:
        raise UserError(
            f"there must be at least 1 worker process, not {num_workers}; leave out --workers for all cores."
        )
    if time_limit <= 0:
        raise UserError(f"the time limit must be above 0 seconds, not {time_limit:g}.")
    waiting = list(reversed(items))
    workers = [_Worker(function) for _ in range(min(num_workers, len(items)))]
    idle, busy = list(workers), []
    try:
        while waiting or busy:
            while waiting and idle:
                worker, item = idle.pop(), waiting.pop()
                while not worker.give(item):
                    worker = _replaced(worker, function, workers)
                busy.append(worker)
            multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=0.2)
            for worker in list(busy):
                outcome, alive = _poll(worker, time_limit)
                if outcome is not None:
                    busy.remove(worker)
                    if not alive:
                        worker = _replaced(worker, function, workers)
                    idle.append(worker)
                    yield outcome
    finally:
        for worker in workers:
            worker.stop()


def _replaced(worker: _Worker, function: Callable[[Any], Any], workers: list[_Worker]) -> _Worker:
    """Ends a worker and puts a fresh one in its place."""
    worker.stop()
    workers.remove(worker)
    workers.append(_Worker(function))
    return workers[-1]


def _poll(worker: _Worker, time_limit: float) -> tuple[Outcome | None, bool]:
    """Returns a worker's outcome, None while it works, and True if the worker can take another item."""
    try:
        while worker.pipe.poll():
            message = worker.pipe.recv()
            if message is not _STARTED:
                return Outcome(worker.item, message[0]), True
            worker.began = time.monotonic()
    except (EOFError, OSError):
        return Outcome(worker.item, None, "the process that read it crashed"), False
    if worker.began is not None and time.monotonic() - worker.began > time_limit:
        return Outcome(worker.item, None, f"it was not read within {time_limit:g} seconds"), False
    return None, True


def _serve(function: Callable[[Any], Any], pipe: multiprocessing.connection.Connection) -> None:
    """Serves items until the other end closes: sends the start of the work, then the result in a tuple."""
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(_STARTED)
        pipe.send((function(item),))
