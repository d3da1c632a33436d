"""Several real processes on this machine that run one piece of code, each with its own number."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

PREAMBLE = """
import pathlib, sys, time
from hilight_jax.core import commands, distributed
from hilight_jax.core.errors import UserError
index, count = int(sys.argv[1]), int(sys.argv[2])
def start(timeout=60.0):
    distributed.initialize(timeout, f"localhost:{sys.argv[3]}", count, index)
"""
ENDING = """
if __name__ == "__main__":
    with distributed.leaving_at_once():
        commands.run(main)
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def run_processes(main: str, count: int, indices: Sequence[int] | None = None) -> list[tuple[int, str]]:
    """Runs ``def main(): ...`` on the processes ``indices`` (default: all) of ``count``.

    Returns:
      Exit code and what was said on stdout and stderr, of each.
    """
    env = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    program, port = PREAMBLE + main + ENDING, str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(index), str(count), port],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in (range(count) if indices is None else indices)
    ]
    said = [process.communicate(timeout=240)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]
