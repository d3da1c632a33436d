"""A line of limited length: so many at a time, so many that wait, and a word to everybody else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from hilight_jax.core.errors import UserError


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

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn and holds it.

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
        try:
            yield
        finally:
            self._turns.release()
