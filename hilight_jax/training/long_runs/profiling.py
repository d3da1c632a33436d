"""An xprof trace of a few steps, written to ``profile/`` in the workdir; every process writes its own."""

import contextlib
from pathlib import Path
from typing import Any

import jax

from hilight_jax.core.errors import ConfigError


def profiled_steps(text: str, steps: int) -> range:
    """Reads ``FIRST:LAST``, both included; an empty text gives no steps.

    Raises:
      ConfigError: The text is something else, or no such steps are in a run of ``steps``.
    """
    if not text:
        return range(0)
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) <= steps):
        raise ConfigError(
            f"config.profile is '{text}', but must be FIRST:LAST, two steps from 1 to config.steps={steps} in "
            f"order, such as 10:13, or empty for no trace."
        )
    return range(int(first), int(last) + 1)


class Profile(contextlib.AbstractContextManager):
    """A context around the loop that traces some of its steps; a run that resumes among them traces the rest."""

    def __init__(self, steps: range, workdir: Path):
        """Traces ``steps``."""
        self._steps = steps
        self._directory = workdir / "profile"
        if jax.process_count() > 1:
            self._directory /= f"process-{jax.process_index()}"
        self._running = False

    def before(self, step: int, state: Any) -> None:
        """Starts tracing if ``step`` is the first; the steps before it are waited for and not in the trace."""
        if step in self._steps and not self._running:
            jax.block_until_ready(state)
            jax.profiler.start_trace(self._directory)
            self._running = True

    def after(self, step: int, state: Any) -> None:
        """Ends the trace if ``step`` is the last."""
        if self._running and step == self._steps[-1]:
            jax.block_until_ready(state)
            self._end()

    def __exit__(self, *_) -> None:
        """Ends a trace that an error or a signal cut short."""
        if self._running:
            self._end()

    def _end(self) -> None:
        self._running = False
        jax.profiler.stop_trace()
