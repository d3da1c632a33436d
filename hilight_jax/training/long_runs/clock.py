"""Where the time of a run goes: at every moment it does exactly one thing, so the parts add up to the whole."""

import contextlib
import time
from collections.abc import Callable, Iterator

# What a run does. "start" is everything before the loop: opening data, restoring, fresh parameters. "step" is handing
# a step to the devices and waiting for the one before it; "data" is waiting for a batch, while the devices may still
# be busy with the step before; "checkpoint" is only what the loop waits for, the writing goes on behind.
ACTIVITIES = ("start", "compile", "data", "step", "evaluation", "checkpoint", "other")


class Clock:
    """Counts the seconds of every activity from its making on; the innermost activity counts."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        """Starts in ``start``."""
        self._now = now
        self._seconds = dict.fromkeys(ACTIVITIES, 0.0)
        self._running = ["start"]
        self._since = now()

    @property
    def current(self) -> str:
        """What the run does now; may be asked from another thread."""
        return self._running[-1]

    def begin_loop(self) -> None:
        """Ends ``start``: what is not named from here on is ``other``."""
        self._settle()
        self._running[0] = "other"

    @contextlib.contextmanager
    def activity(self, name: str) -> Iterator[None]:
        """Everything inside counts as ``name``, but for activities further inside."""
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
    """How fast steps are between two records, compilation, evaluations and checkpoints left out."""

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
