"""Accounts for the time of a run: at any moment exactly one activity counts, so the seconds add up."""

import contextlib
import time
from collections.abc import Callable, Iterator

# "start" is everything before the loop: opening data, restoring, fresh parameters. "step" is dispatching a step and
# waiting for the one before it; "data" is waiting for a batch, while the devices may still run the step before;
# "checkpoint" is the time that the loop is blocked, the asynchronous writing left out.
ACTIVITIES = ("start", "compile", "data", "step", "evaluation", "checkpoint", "other")


class Clock:
    """Counts the seconds of every activity since it was made; the innermost activity counts."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        """Starts in ``start``."""
        self._now = now
        self._seconds = dict.fromkeys(ACTIVITIES, 0.0)
        self._running = ["start"]
        self._since = now()

    @property
    def current(self) -> str:
        """The current activity; safe to read from another thread."""
        return self._running[-1]

    def begin_loop(self) -> None:
        """Ends ``start``: time outside any activity is ``other`` from here on."""
        self._settle()
        self._running[0] = "other"

    @contextlib.contextmanager
    def activity(self, name: str) -> Iterator[None]:
        """Counts the time inside as ``name``, except that of activities nested in it."""
        self._settle()
        self._running.append(name)
        try:
            yield
        finally:
            self._settle()
            self._running.pop()

    def seconds(self) -> dict[str, float]:
        """Returns the seconds of every activity so far; their sum is the time since the clock was made."""
        self._settle()
        return dict(self._seconds)

    def _settle(self) -> None:
        now = self._now()
        self._seconds[self._running[-1]] += now - self._since
        self._since = now


class Pace:
    """The speed of steps between two records, without compilation, evaluations and checkpoints."""

    def __init__(self, clock: Clock, step: int, batch_size: int):
        """Starts counting after ``step`` steps of ``batch_size`` examples."""
        self._clock, self._batch_size = clock, batch_size
        self._step, self._before = step, clock.seconds()

    def figures(self, step: int) -> dict[str, float]:
        """Returns the figures of the steps since the last call, up to ``step``."""
        now, steps = self._clock.seconds(), step - self._step
        waited, worked = (now[name] - self._before[name] for name in ("data", "step"))
        seconds = max(waited + worked, 1e-9)
        self._step, self._before = step, now
        return {
            "seconds_per_step": seconds / steps,
            "data_wait_share": waited / seconds,
            "examples_per_second": self._batch_size * steps / seconds,
        }
