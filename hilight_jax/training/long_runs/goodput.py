"""Accounts for the time of a run: at any moment exactly one activity counts, so the seconds add up.

Goodput is the share of steps that count, over all restarts, in ``goodput.json``. A restart adds two activities to those
of the clock: ``lost``, the steps, data and evaluations after the checkpoint that it resumes from, which are repeated;
and ``down``, the time from the last write of the former start until this one.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from hilight_jax.core.atomic_files import write_object

# "start" is everything before the loop: opening data, restoring, fresh parameters. "step" is dispatching a step and
# waiting for the one before it; "data" is waiting for a batch, while the devices may still run the step before;
# "checkpoint" is the time that the loop is blocked, the asynchronous writing left out.
ACTIVITIES = ("start", "compile", "data", "step", "evaluation", "checkpoint", "other")
DONE_AGAIN = ("step", "data", "evaluation")
KNOWN_CHECKPOINTS = 100
SECONDS_BETWEEN_WRITES = 10.0


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


class Goodput(contextlib.AbstractContextManager):
    """Adds this start's clock to the record of the earlier ones; a context that writes the record at its end."""

    def __init__(
        self,
        workdir: Path,
        step: int,
        clock: Clock,
        log: Callable[[str], None] = lambda line: None,
        now: Callable[[], float] = time.time,
    ):
        """Reads the record of the earlier starts.

        Args:
          workdir: Where ``goodput.json`` is; only the first process writes it.
          step: The step that the run resumes from.
          clock: The time of this start.
          log: Writes the summary at the end.
          now: Seconds since 1970.
        """
        self._path, self._clock, self._log, self._now = workdir / "goodput.json", clock, log, now
        before = _read(self._path)
        self._starts = before.get("starts", 0) + 1
        self._before = dict.fromkeys((*ACTIVITIES, "lost", "down"), 0.0) | before.get("seconds", {})
        self._checkpoints = [known for known in before.get("checkpoints", []) if known["saved"] <= step]
        if before:
            kept = self._checkpoints[-1] if self._checkpoints else dict.fromkeys(DONE_AGAIN, 0.0)
            for name in DONE_AGAIN:
                self._before["lost"] += self._before[name] - kept[name]
                self._before[name] = kept[name]
            began = now() - sum(clock.seconds().values())
            self._before["down"] += max(0.0, began - before["until"])
        self._written = -SECONDS_BETWEEN_WRITES

    def seconds(self) -> dict[str, float]:
        """Returns the seconds of every activity over all starts."""
        now = self._clock.seconds()
        return {name: value + now.get(name, 0.0) for name, value in self._before.items()}

    def saved(self, step: int) -> None:
        """Records the checkpoint of ``step``, and writes the file."""
        self._checkpoints.append({"saved": step} | {name: self.seconds()[name] for name in DONE_AGAIN})
        self.write()

    def touch(self) -> None:
        """Writes the file if the last write is old, so that a killed run loses little of its record."""
        if self._now() - self._written >= SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self) -> None:
        """Writes the file in one piece."""
        self._written = self._now()
        if jax.process_index():
            return
        seconds = self.seconds()
        record = {
            "goodput": _share(seconds, "step"),
            "total_seconds": sum(seconds.values()),
            "seconds": seconds,
            "starts": self._starts,
            "until": self._written,
            "checkpoints": self._checkpoints[-KNOWN_CHECKPOINTS:],
        }
        write_object(self._path, record)

    def summary(self) -> str:
        """Returns one line: the share of the time that went into steps that count, and the shares of the rest."""
        seconds = self.seconds()
        shares = {name: _share(seconds, name) for name in sorted(seconds, key=seconds.__getitem__, reverse=True)}
        rest = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if name != "step" and share >= 0.0005)
        return f"goodput {shares['step']:.1%} of {spell(sum(seconds.values()))}: {rest or 'nothing else'}"

    def __exit__(self, *_) -> None:
        """Writes the file and logs the summary."""
        self.write()
        self._log(self.summary())


def spell(seconds: float) -> str:
    """Spells seconds as ``2 h 10 min``, ``10 min 5 s`` or ``5.0 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _share(seconds: dict[str, float], name: str) -> float:
    return seconds[name] / max(sum(seconds.values()), 1e-9)


def _read(path: Path) -> dict[str, Any]:
    """The record of the earlier starts; empty when it is damaged, since bookkeeping must not stop a run."""
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    kinds = {"seconds": dict, "until": float, "checkpoints": list}
    if isinstance(record, dict) and all(isinstance(record.get(name), kind) for name, kind in kinds.items()):
        return record
    return {}
