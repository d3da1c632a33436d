"""The roll call: process 0 waits until all have come, and all learn who has not.

It comes before JAX's own start, which ends a process without a word when one is missing. It listens where JAX's service
will: on the coordinator's port.
"""

import contextlib
import json
import socket
import time
from collections.abc import Iterable

from hilight_jax.core.errors import DistributedError, MissingProcesses

_ABSENT = "did not arrive within"
_GRACE = 15.0  # Seconds that the others wait longer for an answer than process 0 does for them.


def call_the_roll(address: str, count: int, index: int, timeout: float) -> None:
    """Returns when all processes have come.

    Args:
      address: ``host:port`` of process 0, as all others reach it.
      count: Number of processes.
      index: This one.
      timeout: Seconds to wait for the others.

    Raises:
      MissingProcesses: Some are missing after ``timeout`` seconds.
      DistributedError: Two call themselves by one number.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise DistributedError(
            f"the coordinator's address is '{address}', but must be HOST:PORT of process 0, the port from 1 to 65535."
        )
    answer = _wait_for_all(int(port), count, timeout) if index == 0 else _report(host, int(port), count, index, timeout)
    if answer:
        raise (MissingProcesses if _ABSENT in answer else DistributedError)(answer)


def numbered(processes: Iterable[int]) -> str:
    """Names processes: ``process 3`` or ``processes 3, 7``."""
    processes = sorted(processes)
    return f"process{'es' if len(processes) > 1 else ''} {', '.join(map(str, processes))}"


def _wait_for_all(port: int, count: int, timeout: float) -> str:
    """Process 0: collects the others and tells each the answer, empty when all is well."""
    deadline, answer = time.monotonic() + timeout, ""
    present: set[int] = set()
    connections: list[socket.socket] = []
    with contextlib.ExitStack() as at_end:
        try:
            server = at_end.enter_context(socket.create_server(("", port)))
        except OSError as error:
            return f"process 0 cannot listen on the coordinator's port {port}: {error.strerror}; name another port."
        while len(present) < count - 1 and not answer and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            with contextlib.suppress(TimeoutError):
                connection = at_end.enter_context(server.accept()[0])
                connections.append(connection)
                answer = _admit(connection, count, present)
        missing = set(range(1, count)) - present
        if missing and not answer:
            answer = (
                f"{numbered(missing)} of {count} {_ABSENT} {timeout:.0f} s; see why on those hosts, then "
                f"start all again."
            )
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps({"answer": answer}).encode() + b"\n")
        for connection in connections:  # Who closes first keeps the port busy: let it be them.
            with contextlib.suppress(OSError):
                connection.settimeout(2.0)
                connection.recv(1)
    return answer


def _admit(connection: socket.socket, count: int, present: set[int]) -> str:
    """Reads one arrival; whatever is none (a stray connection) is passed over."""
    try:
        connection.settimeout(2.0)
        arrival = json.loads(connection.makefile().readline())
        index, theirs = int(arrival["process"]), int(arrival["count"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    again = index in present
    present.add(index)
    if theirs != count:
        return f"process {index} was started as one of {theirs} processes, process 0 as one of {count}; make them one."
    if again or not 0 < index < count:
        return f"two processes were started as process {index} of {count}; give each its own number."
    return ""


def _report(host: str, port: int, count: int, index: int, timeout: float) -> str:
    """Any other process: finds process 0, says its number and returns the answer."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), min(left, 5.0)) as connection:
                connection.sendall(json.dumps({"process": index, "count": count}).encode() + b"\n")
                connection.settimeout(timeout + _GRACE)
                return json.loads(connection.makefile().readline())["answer"]
        except (OSError, ValueError, KeyError):
            time.sleep(0.2)
    return (
        f"process 0 of {count}, the coordinator {host}:{port}, {_ABSENT} {timeout:.0f} s; see why on that "
        f"host, or whether the port is closed, then start all again."
    )
