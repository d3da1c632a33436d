"""A pool of worker processes with a time limit for each item, because a decoder can hang.

``serving/videos/decoding.py`` has another mechanism because the isolation differs: it decodes strangers' uploads, each
in a new process without keys and with limits of memory and CPU, while ``check`` reads a user's own files by the
thousand and cannot start an interpreter for each, so its workers are reused and have the user's rights.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

from hilight_jax.core.errors import UserError

_STARTED = None  # A worker sends this when it starts on an item; parts and results come as (value, is it a part).


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


class Part(NamedTuple):
    """One of the values that a function sends for an item.

    Attributes:
      item: The item.
      value: The value.
    """

    item: Any
    value: Any


class _Worker:
    """One process that works on one item at a time, over a pipe."""

    def __init__(self, function: Callable[..., Any], in_parts: bool):
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, far_end, in_parts), daemon=True)
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
    for event in _events(function, items, num_workers, time_limit, in_parts=False):
        if isinstance(event, Outcome):
            yield event


def stream_timed(
    function: Callable[[Any, Callable[[Any], None]], Any], items: Sequence[Any], num_workers: int, time_limit: float
) -> Generator[Part | Outcome]:
    """Yields the values that ``function(item, send)`` sends as ``Part``s, and its result as an ``Outcome``.

    The time limit is for each part. A worker waits while its parts are not taken, so that few are in memory. Otherwise
    like ``map_timed``.
    """
    return _events(function, items, num_workers, time_limit, in_parts=True)


def _events(
    function: Callable[..., Any], items: Sequence[Any], num_workers: int, time_limit: float, in_parts: bool
) -> Generator[Part | Outcome]:
    """Hands the items to workers and yields what comes back."""
    if num_workers < 1:
        raise UserError(
            f"there must be at least 1 worker process, not {num_workers}; leave out --workers for all cores."
        )
    if time_limit <= 0:
        raise UserError(f"the time limit must be above 0 seconds, not {time_limit:g}.")
    waiting = list(reversed(items))
    workers = [_Worker(function, in_parts) for _ in range(min(num_workers, len(items)))]
    idle, busy = list(workers), []

    def replaced(worker: _Worker) -> _Worker:
        """Ends a worker and puts a fresh one in its place."""
        worker.stop()
        workers.remove(worker)
        workers.append(_Worker(function, in_parts))
        return workers[-1]

    try:
        while waiting or busy:
            while waiting and idle:
                worker, item = idle.pop(), waiting.pop()
                while not worker.give(item):
                    worker = replaced(worker)
                busy.append(worker)
            multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=0.2)
            for worker in list(busy):
                event, alive = _poll(worker, time_limit)
                if isinstance(event, Outcome):
                    busy.remove(worker)
                    idle.append(worker if alive else replaced(worker))
                if event is not None:
                    yield event
    finally:
        for worker in workers:
            worker.stop()


def _poll(worker: _Worker, time_limit: float) -> tuple[Part | Outcome | None, bool]:
    """Returns a worker's part or outcome, None while it works, and False if the worker is of no more use."""
    try:
        while worker.pipe.poll():
            message = worker.pipe.recv()
            worker.began = time.monotonic()
            if message is not _STARTED:
                value, is_part = message
                return (Part if is_part else Outcome)(worker.item, value), True
    except (EOFError, OSError):
        return Outcome(worker.item, None, "the process that read it crashed"), False
    if worker.began is not None and time.monotonic() - worker.began > time_limit:
        return Outcome(worker.item, None, f"it was not read within {time_limit:g} seconds"), False
    return None, True


def _serve(function: Callable[..., Any], pipe: multiprocessing.connection.Connection, in_parts: bool) -> None:
    """Serves items until the other end closes: sends the start of the work, then parts, then the result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one.

    def send(part: Any) -> None:
        pipe.send((part, True))

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # The parent was killed.
        while True:
            item = pipe.recv()
            pipe.send(_STARTED)
            pipe.send((function(item, send) if in_parts else function(item), False))
