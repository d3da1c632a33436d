"""A line of limited length: so many at a time, so many that wait, and a word to everybody else."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hilight_jax.core.errors import UserError

_Result = TypeVar("_Result")


class Busy(UserError):
    """As many requests wait as may; try again later."""


class Line:
    """Work of one kind, for requests that come as they like."""

    def __init__(self, at_a_time: int, max_waiting: int, work: str):
        """Nobody waits yet.

        Args:
          at_a_time: Requests that work.
          max_waiting: Requests that wait for it.
          work: What they wait for, as it is told to one too many.
        """
        self._turns, self._waiting = asyncio.Semaphore(at_a_time), 0
        self._max_waiting, self._work = max_waiting, work

    async def run(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Waits for a turn and works in it.

        Who is cancelled leaves the line; work that has begun is not, and keeps its turn to its end, for a thread or a
        process goes on whether anybody waits for it or not.

        Raises:
          Busy: Too many wait.
        """
        if self._waiting >= self._max_waiting:
            raise Busy(f"{self._waiting} requests wait already {self._work}; try again in some seconds.")
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1

        async def working() -> _Result:
            try:
                return await work()
            finally:
                self._turns.release()

        task = asyncio.ensure_future(working())
        task.add_done_callback(_look)
        return await asyncio.shield(task)


def _look(task: asyncio.Future[Any]) -> None:
    """Looks at how it ended, should nobody else be there to do it."""
    if not task.cancelled():
        task.exception()
