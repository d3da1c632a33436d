"""Several processes of one run: they connect, exchange values, check that they agree, and fail together.

With a single process every function returns at once.
"""

import contextlib
import hashlib
import itertools
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from jax._src import clusters, distributed
from jax.errors import JaxRuntimeError

from hilight_jax.core.commands import EXIT_INTERRUPTED
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import DistributedError, MissingProcesses, UserError
from hilight_jax.core.roll_call import call_the_roll, numbered

ARRIVAL_SECONDS = 300.0
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")
# Seconds that JAX's service waits at the end for late processes; a job whose other half failed waits as long.
_SHUTDOWN_SECONDS = 30
# Seconds that a failing process 0 keeps the service alive: JAX aborts processes that lose it, in the middle of output.
_FAREWELL_SECONDS = 5.0
_numbers = itertools.count()


def initialize(
    timeout: float = ARRIVAL_SECONDS,
    address: str | None = None,
    count: int | None = None,
    index: int | None = None,
) -> None:
    """Connects this process with the others of its job; call it before the first use of a device.

    Missing arguments are read from ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``, then
    detected as JAX does: on Cloud TPU (GCE or GKE), Slurm and Open MPI. Without any of them the run has one process.

    Args:
      timeout: Seconds to wait for the others.
      address: ``host:port`` of process 0.
      count: Number of processes.
      index: Number of this process.

    Raises:
      DistributedError: Some of the three are known and others are not, or a number is out of range.
      MissingProcesses: A process did not arrive; it is named.
    """
    if jax.distributed.is_initialized():
        return
    address = address or os.environ.get("JAX_COORDINATOR_ADDRESS")
    count = _number("JAX_NUM_PROCESSES") if count is None else count
    index = _number("JAX_PROCESS_ID") if index is None else index
    local = None
    given = (address, count, index)
    if None in given and not (given == (None, None, None) and jax.config.jax_platforms == "cpu"):  # pyright: ignore[reportAttributeAccessIssue]
        address, count, index, local = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            *given, None, None, int(timeout)
        )
    if count is None and index is None and address is None:
        return
    names = ("coordinator_address", "num_processes", "process_id")
    missing = [name for name, value in zip(names, (address, count, index), strict=True) if value is None]
    if missing:
        raise DistributedError(
            f"several processes need {', '.join(names)}, but not all are known; give "
            f"{' and '.join(f'--{name} or JAX_{name.upper()}' for name in missing)}."
        )
    if count < 1:
        raise DistributedError(f"num_processes is {count}, but must be at least 1.")
    if not 0 <= index < count:
        raise DistributedError(f"process_id is {index}, but must be between 0 and num_processes - 1, {count - 1}.")
    if count == 1:
        return
    call_the_roll(address, count, index, timeout)
    jax.distributed.initialize(
        address,
        count,
        index,
        local_device_ids=local,
        initialization_timeout=int(timeout) + 1,
        shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
    )


def exchange(topic: str, value: Any, timeout: float = ARRIVAL_SECONDS) -> list[Any]:
    """Returns the values of all processes, by their number; all must call it, in the same order.

    Args:
      topic: Subject of the exchange, for the error.
      value: A value that JSON can hold.
      timeout: Seconds to wait for the others.

    Raises:
      MissingProcesses: A process did not give its value in time.
    """
    count = jax.process_count()
    if count == 1:
        return [value]
    client = distributed.global_state.client
    number = next(_numbers)
    client.key_value_set(f"hilight/{number}/{jax.process_index()}", json.dumps(value))
    deadline, found, missing = time.monotonic() + timeout, [], []
    for process in range(count):
        left = max(0.05, deadline - time.monotonic())
        try:
            found.append(json.loads(client.blocking_key_value_get(f"hilight/{number}/{process}", int(left * 1000))))
        except JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise MissingProcesses(
                    f"process 0 of {count} is gone ({topic}); see why on its host, then start all again."
                ) from error
            missing.append(process)
    if missing:
        raise MissingProcesses(
            f"{numbered(missing)} of {count} did not answer within {timeout:.0f} s ({topic}); see why on those hosts, "
            f"then start all again."
        )
    if number >= 2:  # All processes have reached exchange number - 1, so all have read number - 2.
        client.key_value_delete(f"hilight/{number - 2}/{jax.process_index()}")
    return found


def agree(identity: Mapping[str, str], timeout: float = ARRIVAL_SECONDS) -> None:
    """Checks that all processes have the same identity.

    Args:
      identity: Values that must be the same on all processes, by name, such as ``code``.
      timeout: Seconds to wait for the others.

    Raises:
      DistributedError: A value differs; it is named with its processes.
    """
    everyone = exchange(f"comparing {', '.join(identity)}", dict(identity), timeout)
    lines = []
    for name, ours in everyone[0].items():
        others = [process for process, theirs in enumerate(everyone) if theirs.get(name) != ours]
        if others:
            lines.append(f"{name} on {numbered(others)} ({everyone[others[0]].get(name)} instead of {ours})")
    if lines:
        raise DistributedError(
            f"the processes differ from process 0: {'; '.join(lines)}; give all hosts the same, then start all again."
        )


def check_shared(directory: Path, seconds: float = 10.0) -> None:
    """Checks that all processes see the same ``directory``, by a file that process 0 writes there and removes again.

    A missing directory is created and stays.

    Raises:
      DistributedError: Some processes do not see it; they are named.
    """
    if jax.process_count() == 1:
        return
    token = exchange("a name for the token", secrets.token_hex(8))[0]
    path = directory / f".shared-{token}"
    problem = ""
    if jax.process_index() == 0:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            problem = f"the directory {directory} cannot be written: {error.strerror}."
    if problem := exchange("writing the token", problem)[0]:
        raise DistributedError(problem)
    deadline = time.monotonic() + seconds
    while not (sees := path.exists()) and time.monotonic() < deadline:
        time.sleep(0.2)
    blind = [process for process, seen in enumerate(exchange("finding the token", sees)) if not seen]
    if jax.process_index() == 0:
        path.unlink(missing_ok=True)
    if blind:
        raise DistributedError(
            f"{numbered(blind)} of {jax.process_count()} cannot see what process 0 writes to {directory}; name a "
            f"directory that all hosts share."
        )


def together(topic: str, work: Callable[[], Any], timeout: float = ARRIVAL_SECONDS) -> Any:
    """Runs ``work`` on all processes and returns this one's result once all have finished.

    Raises:
      UserError: It failed on this process; an OSError passes through likewise.
      DistributedError: It failed on another process, whose message is repeated.
    """
    failure, result = None, None
    try:
        result = work()
    except (UserError, OSError) as error:
        failure = error
    problems = exchange(topic, str(failure or ""), timeout)
    if failure is not None:
        raise failure
    for process, problem in enumerate(problems):
        if problem:
            raise DistributedError(f"process {process}: {problem}")
    return result


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """Ends a failing process of several at once, without JAX's wait for the others.

    Process 0 waits a few seconds for the messages of those that fail with it.
    """
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else 1
        if jax.distributed.is_initialized() and code not in (0, EXIT_INTERRUPTED):
            if not isinstance(error, SystemExit):
                sys.excepthook(type(error), error, error.__traceback__)
            sys.stdout.flush()
            sys.stderr.flush()
            _take_leave()
            os._exit(code)
        raise


def _take_leave() -> None:
    client, deadline = distributed.global_state.client, time.monotonic() + _FAREWELL_SECONDS
    with contextlib.suppress(JaxRuntimeError):
        client.key_value_set(f"hilight/left/{jax.process_index()}", "")
        for process in range(1, jax.process_count()) if jax.process_index() == 0 else ():
            left = max(0.05, deadline - time.monotonic())
            client.blocking_key_value_get(f"hilight/left/{process}", int(left * 1000))
        if jax.process_index() == 0:
            time.sleep(0.5)  # They have announced their exit; wait for it.


def _number(variable: str) -> int | None:
    value = os.environ.get(variable)
    if value is None:
        return None
    if not value.isdigit():
        raise DistributedError(f"{variable} is '{value}', but must be a whole number.")
    return int(value)


def log(line: str) -> None:
    """Writes a line to stderr, by the first process alone."""
    if jax.process_index() == 0:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def run_identity(config: Any) -> dict[str, str]:
    """Returns hashes of the code and the configuration, and the library versions, for ``agree``."""
    configuration = hashlib.blake2b(json.dumps(to_dict(config)).encode(), digest_size=8).hexdigest()
    return {"code": code_hash(), "configuration": configuration, "versions": library_versions()}


def code_hash() -> str:
    """Hashes the names and contents of all source files of the package."""
    root = Path(__file__).parents[1]
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def library_versions() -> str:
    """Lists the versions of the libraries that compute."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
