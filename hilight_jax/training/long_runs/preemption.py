"""Requests to stop a run: SIGTERM from a scheduler, and Cloud TPU's notices of maintenance, which become SIGTERM.

A single process checks a flag. Several processes must stop at the same step, whichever received the signal: JAX's
preemption service, which handles SIGTERM once the processes are connected, makes them agree on the next step that none
has passed. A notice appears in the machine's metadata before any signal is sent.
"""

import http.client
import os
import signal
import threading
import urllib.request
from collections.abc import Callable, Mapping

import jax
from jax.experimental import multihost_utils


class Preemption:
    """A context in which SIGTERM is a request to save and stop; outside of it SIGTERM ends the process."""

    def __init__(self):
        """Prepares; entering the context starts it."""
        self._asked = False
        self._owner = os.getpid()
        self._agrees = jax.distributed.is_initialized()
        self._handles = not self._agrees and threading.current_thread() is threading.main_thread()

    def requested(self, step: int) -> bool:
        """Returns True when the run must stop after ``step``; several processes must all call it at every step."""
        if self._agrees:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def __enter__(self) -> "Preemption":
        """Installs the signal handler."""
        if self._handles:
            self._former = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_) -> None:
        """Restores the former handler."""
        if self._handles:
            signal.signal(signal.SIGTERM, self._former or signal.SIG_DFL)

    def _note(self, number: int, _) -> None:
        if os.getpid() == self._owner:
            self._asked = True
        else:  # A forked worker process: it has nothing to save.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


NOTICES = {
    "http://metadata.google.internal/computeMetadata/v1/instance/maintenance-event": "NONE",
    "http://metadata.google.internal/computeMetadata/v1/instance/preempted": "FALSE",
}
SECONDS_BETWEEN_READS = 5.0


def read_metadata(url: str) -> str:
    """Reads a value from the machine's metadata server.

    Raises:
      OSError: No server answers.
    """
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    with urllib.request.urlopen(request, timeout=SECONDS_BETWEEN_READS) as answer:
        return answer.read().decode().strip()


class MaintenanceWatch:
    """A thread that turns a notice into one SIGTERM; a context around the loop."""

    def __init__(
        self,
        read: Callable[[str], str] = read_metadata,
        quiet: Mapping[str, str] = NOTICES,
        seconds: float = SECONDS_BETWEEN_READS,
    ):
        """Prepares; entering the context starts it.

        Args:
          read: Reads one address.
          quiet: The value of each address while no notice is given.
          seconds: Between two reads.
        """
        self._read, self._quiet, self._seconds = read, quiet, seconds
        self._before: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="maintenance", daemon=True)

    def look(self) -> bool:
        """Returns True when a value has just changed from quiet; an address that cannot be read keeps its value."""
        noticed = False
        for place, quiet in self._quiet.items():
            try:
                value = self._read(place)
            except (OSError, http.client.HTTPException, UnicodeDecodeError):
                continue
            noticed |= value != quiet and self._before.get(place) == quiet
            self._before[place] = value
        return noticed

    def __enter__(self) -> "MaintenanceWatch":
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        """Stops the thread."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.is_set():
            if self.look():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._stop.wait(self._seconds)
