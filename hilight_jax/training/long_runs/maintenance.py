"""Cloud maintenance: a machine that is about to be taken away says so in its metadata before it sends any signal.

A notice becomes SIGTERM to this process, and all that follows is that of any other SIGTERM. A notice that was there
when the run began is not heeded: a run that is started again while it still stands would never take a step.
"""

import http.client
import os
import signal
import threading
import urllib.request
from collections.abc import Callable, Mapping

NOTICES = {
    "http://metadata.google.internal/computeMetadata/v1/instance/maintenance-event": "NONE",
    "http://metadata.google.internal/computeMetadata/v1/instance/preempted": "FALSE",
}
SECONDS_BETWEEN_LOOKS = 5.0


def read_metadata(url: str) -> str:
    """Asks the machine's metadata server.

    Raises:
      OSError: There is none, or it does not answer.
    """
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    with urllib.request.urlopen(request, timeout=SECONDS_BETWEEN_LOOKS) as answer:
        return answer.read().decode().strip()


class MaintenanceWatch:
    """A thread that turns a notice into SIGTERM, once; a context around the loop."""

    def __init__(
        self,
        ask: Callable[[str], str] = read_metadata,
        quiet: Mapping[str, str] = NOTICES,
        seconds: float = SECONDS_BETWEEN_LOOKS,
    ):
        """Waits to be entered.

        Args:
          ask: Reads one place.
          quiet: What each place says while nothing is to happen.
          seconds: Between two looks.
        """
        self._ask, self._quiet, self._seconds = ask, quiet, seconds
        self._before: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="maintenance", daemon=True)

    def look(self) -> bool:
        """Whether a place has just begun to say something else; one that cannot be read says what it said before."""
        noticed = False
        for place, quiet in self._quiet.items():
            try:
                says = self._ask(place)
            except (OSError, http.client.HTTPException, UnicodeDecodeError):
                continue
            noticed |= says != quiet and self._before.get(place) == quiet
            self._before[place] = says
        return noticed

    def __enter__(self) -> "MaintenanceWatch":
        """Starts to look."""
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        """Stops looking."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.is_set():
            if self.look():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._stop.wait(self._seconds)
