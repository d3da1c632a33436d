"""Jobs of several processes on this machine, each a command of its own with one CPU device, as on hosts of a pod."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests.stages.tiny import SMALL

# Compiled quickly; and in float64, since Adam makes much of the rounding of small gradients.
ENVIRON = {
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
}
FLOAT64 = ("--config.model.compute.dtype=float64", "--config.model.compute.param_dtype=float64")
ENCODER = (
    *SMALL,
    *FLOAT64,
    "--config.batch_size=8",
    "--config.generate_missing=false",
    "--config.steps=40",
    "--config.log_every=1",
    "--config.eval_every=20",
    "--config.keep.every=5",
)
PATIENCE = 300


class Job:
    """The processes of one start of a run."""

    def __init__(
        self,
        arguments: Sequence[str],
        count: int,
        present: Sequence[int] | None = None,
        each: Mapping = MappingProxyType({}),
    ):
        """Starts ``count`` processes of ``train``, or of them those that are ``present``.

        Args:
          arguments: Of all.
          count: What all are told.
          present: Those that do start; None for all.
          each: More arguments, by process.
        """
        address = f"localhost:{free_port()}"
        self.processes = {}
        for number in range(count) if present is None else present:
            place = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(number)}
            environ = {**os.environ, **ENVIRON, **(place if count > 1 else {})}
            command = [sys.executable, "-m", "hilight_jax.train", *arguments, *each.get(number, ())]
            self.processes[number] = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)

    def finish(self, seconds: float = PATIENCE) -> tuple[list[int], list[str]]:
        """The exit codes and what was said on stderr, once all have ended."""
        said = [process.communicate(timeout=seconds)[1] for process in self.processes.values()]
        return [process.returncode for process in self.processes.values()], said

    def send(self, number: int, what: signal.Signals) -> None:
        """Sends a signal to one process."""
        self.processes[number].send_signal(what)


@contextlib.contextmanager
def job(*args, **kwargs) -> Iterator[Job]:
    """A job of which nothing is left over, whatever happens."""
    started = Job(*args, **kwargs)
    try:
        yield started
    finally:
        for process in started.processes.values():
            process.kill()
            process.wait()
            process.stderr.close()


def encoder(workdir: Path, data_dir: Path, *overrides: str) -> list[str]:
    """The arguments of a run of the shrunk demo encoder."""
    config = ["--config", "configs/encoder.py:demo", "--workdir", str(workdir), "--data_dir", str(data_dir)]
    return [*config, *ENCODER, *overrides]


def succeed(arguments: Sequence[str], count: int) -> None:
    """Runs a job to its end."""
    with job(arguments, count) as started:
        codes, said = started.finish()
    assert codes == [0] * count, said


def records(workdir: Path) -> list[dict]:
    """What a run has written so far."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def losses(workdir: Path, name: str = "loss") -> dict[int, float]:
    """The losses of a run, by step."""
    return {record["step"]: record[name] for record in records(workdir) if name in record}


def wait_for_step(workdir: Path, step: int) -> None:
    """Returns when a run has recorded this step."""
    deadline = time.monotonic() + PATIENCE
    while max(losses(workdir), default=0) < step:
        assert time.monotonic() < deadline, f"no step {step} in {workdir} within {PATIENCE} s"
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]
