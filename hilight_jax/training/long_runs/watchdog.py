"""Reports a stall, and its cause, when no step has finished for a while."""

import faulthandler
import threading
import time
from collections.abc import Callable
from pathlib import Path

WAITS_FOR = {
    "compile": "compiling the step",
    "data": "waiting for data",
    "step": "waiting for the devices to finish a step",
    "evaluation": "evaluating",
    "checkpoint": "waiting for a checkpoint to be written",
}


class Watchdog:
    """A thread that watches the time since the last step; a context around the loop.

    It reports a stall when it is ``seconds`` old, again at twice and four times that age and so on, and its end. Each
    report of a stall appends the stacks of all threads to a file.
    """

    def __init__(
        self,
        seconds: float,
        activity: Callable[[], str],
        report: Callable[[str], None],
        stacks: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        """Prepares the thread; entering the context starts it.

        Args:
          seconds: Age from which a missing step is a stall; 0 switches the watchdog off.
          activity: Returns the current activity of the run.
          report: Receives each sentence, in the watchdog's thread.
          stacks: File that receives the threads' stacks.
          now: Seconds.
        """
        self._seconds, self._activity, self._report, self._stacks, self._now = seconds, activity, report, stacks, now
        self._step, self._last = None, now()
        self._due = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def finished(self, step: int) -> None:
        """Records that a step is done."""
        now = self._now()
        silent, stalled = now - self._last, self._due > self._seconds
        self._step, self._last, self._due = step, now, self._seconds
        if stalled:
            self._report(f"step {step} is done after {silent:.0f} s; the run goes on.")

    def look(self) -> None:
        """Reports a stall if one is due."""
        silent, last, due = self._now() - self._last, self._step, self._due
        if silent < due:
            return
        while due <= silent:
            due *= 2
        self._due = due
        after = "the start" if last is None else f"step {last}"
        where = self._activity()
        line = f"no step has finished for {silent:.0f} s since {after}: the run is {WAITS_FOR.get(where, 'busy')}"
        if self._stacks is None:
            self._report(f"{line}.")
            return
        with self._stacks.open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            file.flush()
            faulthandler.dump_traceback(file)
            file.write("\n")
        self._report(f"{line}; {self._stacks} holds the stack of each thread.")

    def __enter__(self) -> "Watchdog":
        """Starts the thread."""
        self._last = self._now()
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        """Stops the thread."""
        self._stop.set()
        if self._seconds:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(min(1.0, self._seconds / 4)):
            self.look()
