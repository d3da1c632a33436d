"""The roll call: process 0 waits for all others, and every process gets the numbers of those missing or misnumbered.

It runs before JAX's own start, which aborts a process without a message when another is missing, and on the same port.
"""

import contextlib
import json
import socket
import time
from collections.abc import Iterable

from hilight_jax.core.errors import DistributedError, MissingProcesses

_GRACE = 15.0  # Seconds that the others wait for an answer beyond the timeout of process 0.


def call_the_roll(address: str, count: int, index: int, timeout: float) -> None:
    """Returns when all processes have arrived.

    Args:
      address: ``host:port`` under which the others reach process 0.
      count: Number of processes.
      index: Number of this process.
      timeout: Seconds to wait for the others.

    Raises:
      MissingProcesses: Some are missing after ``timeout`` seconds.
      DistributedError: Two processes have the same number, or disagree about ``count``.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise DistributedError(
            f"the coordinator's address is '{address}', but must be HOST:PORT of process 0, the port from 1 to 65535."
        )
    fault = _wait_for_all(int(port), count, timeout) if index == 0 else _report(host, int(port), count, index, timeout)
    if fault is not None:
        raise fault


def numbered(processes: Iterable[int]) -> str:
    """Names processes: ``process 3`` or ``processes 3, 7``."""
    processes = sorted(processes)
    return f"process{'es' if len(processes) > 1 else ''} {', '.join(map(str, processes))}"


def _wait_for_all(port: int, count: int, timeout: float) -> DistributedError | None:
    """Collects the arrivals on process 0 and answers each with the fault, if any."""
    deadline, fault = time.monotonic() + timeout, None
    present: set[int] = set()
    connections: list[socket.socket] = []
    with contextlib.ExitStack() as at_end:
        try:
            server = at_end.enter_context(socket.create_server(("", port)))
        except OSError as error:
            return DistributedError(
                f"process 0 cannot listen on the coordinator's port {port}: {error.strerror}; name another port."
            )
        while len(present) < count - 1 and fault is None and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            with contextlib.suppress(TimeoutError):
                connection = at_end.enter_context(server.accept()[0])
                connections.append(connection)
                fault = _admit(connection, count, present)
        missing = set(range(1, count)) - present
        if missing and fault is None:
            fault = MissingProcesses(
                f"{numbered(missing)} of {count} did not arrive within {timeout:.0f} s; see why on those hosts, then "
                f"start all again."
            )
        answer = {"fault": str(fault or ""), "missing": isinstance(fault, MissingProcesses)}
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(answer).encode() + b"\n")
        for connection in connections:  # The side that closes first keeps the port busy, so the others close.
            with contextlib.suppress(OSError):
                connection.settimeout(2.0)
                connection.recv(1)
    return fault


def _admit(connection: socket.socket, count: int, present: set[int]) -> DistributedError | None:
    """Reads one arrival; a stray connection is ignored."""
    try:
        connection.settimeout(2.0)
        arrival = json.loads(connection.makefile().readline())
        index, theirs = int(arrival["process"]), int(arrival["count"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    again = index in present
    present.add(index)
    if theirs != count:
        return DistributedError(
            f"process {index} was started as one of {theirs} processes, process 0 as one of {count}; make them one."
        )
    if again or not 0 < index < count:
        return DistributedError(f"two processes were started as process {index} of {count}; give each its own number.")
    return None


def _report(host: str, port: int, count: int, index: int, timeout: float) -> DistributedError | None:
    """Announces another process to process 0 and returns the fault that it answers, if any."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), min(left, 5.0)) as connection:
                connection.sendall(json.dumps({"process": index, "count": count}).encode() + b"\n")
                connection.settimeout(timeout + _GRACE)
                answer = json.loads(connection.makefile().readline())
                kind = MissingProcesses if answer["missing"] else DistributedError
                return kind(answer["fault"]) if answer["fault"] else None
        except (OSError, ValueError, KeyError):
            time.sleep(0.2)
    return MissingProcesses(
        f"process 0 of {count}, the coordinator {host}:{port}, did not arrive within {timeout:.0f} s; see why on that "
        f"host, or whether the port is closed, then start all again."
    )
