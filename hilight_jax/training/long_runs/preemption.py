"""Whether the run is asked to stop: SIGTERM, which schedulers send before they take a machine away.

One process looks at a flag. Several must stop at the same step, whichever of them was asked: JAX's preemption service,
which takes over SIGTERM when the processes find each other, lets them agree on the next step that none has passed.
"""

import os
import signal
import threading

import jax
from jax.experimental import multihost_utils


class Preemption:
    """A context in which SIGTERM is a request to save and stop; outside of it SIGTERM ends the process."""

    def __init__(self):
        """Waits to be entered."""
        self._asked = False
        self._owner = os.getpid()
        self._agrees = jax.distributed.is_initialized()
        self._handles = not self._agrees and threading.current_thread() is threading.main_thread()

    def requested(self, step: int) -> bool:
        """Whether to stop after ``step``; on several processes all must ask at every step, and all get one answer."""
        if self._agrees:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def __enter__(self) -> "Preemption":
        """Starts to listen."""
        if self._handles:
            self._former = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_) -> None:
        """Gives the signal back."""
        if self._handles:
            signal.signal(signal.SIGTERM, self._former or signal.SIG_DFL)

    def _note(self, number: int, _) -> None:
        if os.getpid() == self._owner:
            self._asked = True
        else:  # A forked worker process: it has nothing to save.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
