"""One progress line on stderr, with a rate and the time that is left."""

import sys
import time


class Progress:
    """Counts finished items and shows them, at most twice a second.

    On a terminal the line is rewritten in place; in a log a new line appears every ten seconds.
    """

    def __init__(self, total: int, what: str, unit: str = "items", start: int = 0):
        """Starts counting towards ``total`` of ``unit``; ``start`` of them were done before."""
        self._total, self._what, self._unit = total, what, unit
        self._done = self._start = start
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._shown = self._began

    def update(self, count: int = 1, note: str = "") -> None:
        """Adds ``count`` finished items; ``note`` is shown behind the rate."""
        self._done += count
        now = time.monotonic()
        if now - self._shown >= (0.5 if self._terminal else 10.0) or self._done == self._total:
            self._shown = now
            sys.stderr.write(("\r" if self._terminal else "") + self._line(note) + ("" if self._terminal else "\n"))
            sys.stderr.flush()

    def close(self) -> float:
        """Ends the line; returns the items per second."""
        if self._terminal:
            sys.stderr.write("\n")
        return self.rate

    @property
    def rate(self) -> float:
        """Items per second since the start."""
        return (self._done - self._start) / max(time.monotonic() - self._began, 1e-9)

    def _line(self, note: str) -> str:
        left = (self._total - self._done) / max(self.rate, 1e-9)
        text = f"{self._what} {self._done}/{self._total} {self.rate:.1f} {self._unit}/s, {clock(left)} left"
        return f"{text} {note}".ljust(100) if self._terminal else f"{text} {note}".rstrip()


def clock(seconds: float) -> str:
    """Formats seconds as ``1:02:03`` or ``2:03``."""
    seconds = int(seconds)
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def timestamp(seconds: float) -> str:
    """Formats a time in a film as ``02:05.3`` or ``1:02:05.3``."""
    tenths = round(seconds * 10)
    hours, rest = divmod(tenths, 36000)
    minutes, rest = divmod(rest, 600)
    return f"{f'{hours}:' if hours else ''}{minutes:02}:{rest // 10:02}.{rest % 10}"
