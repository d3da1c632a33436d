"""Admission of requests: a limited number run at a time, a limited number wait, and the rest are refused."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from hilight_jax.core.errors import UserError

_Result = TypeVar("_Result")


class QueueFull(UserError):
    """The queue of waiting requests is full; the client may retry later."""


class AdmissionQueue:
    """Runs one kind of work for many requests.

    anyio's ``CapacityLimiter`` limits the running work and queues the rest; the limit of that queue is added here.
    """

    def __init__(self, max_running: int, max_waiting: int, work: str):
        """Starts with an empty queue.

        Args:
          max_running: Requests whose work runs at a time.
          max_waiting: Requests that may wait.
          work: The work as the refusal names it, such as "for their videos to be decoded".
        """
        self._limiter = anyio.CapacityLimiter(max_running)
        self._max_waiting, self._work = max_waiting, work

    async def run(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Waits for a free place and runs the work.

        A waiting request that is cancelled leaves the queue. Work that has started is not cancelled and keeps its place
        to its end, because its thread or process goes on.

        Raises:
          QueueFull: Too many requests wait.
        """
        waiting = self._limiter.statistics().tasks_waiting
        if waiting >= self._max_waiting:
            raise QueueFull(f"{waiting} requests wait already {self._work}; try again in some seconds.")
        borrower = object()
        await self._limiter.acquire_on_behalf_of(borrower)

        async def run_and_release() -> _Result:
            try:
                return await work()
            finally:
                self._limiter.release_on_behalf_of(borrower)

        task = asyncio.ensure_future(run_and_release())
        # Retrieves a failure, or asyncio logs it where the request was cancelled before its work failed.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(task)
