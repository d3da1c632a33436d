"""The train command under SIGTERM: it saves and exits with 75, on one process and on several at the same step."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from hilight_jax.billiards.dataset import build
from hilight_jax.billiards.worlds import get_world
from hilight_jax.checkpoints.store import Store
from tests.stages.tiny import SMALL

RUN = (
    *SMALL,
    "--config.batch_size=8",
    "--config.generate_missing=false",
    "--config.steps=100000",
    "--config.log_every=1",
    "--config.eval_every=100000",
    "--config.keep.every=1000",
)
PROGRAM = """
import sys
import jax
from hilight_jax import train
from hilight_jax.core import commands
if __name__ == "__main__":
    index, count, port = map(int, sys.argv[1:4])
    if count > 1:
        jax.distributed.initialize(f"localhost:{port}", count, index)
    commands.run(lambda: train.main(sys.argv[4:]))
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    build(get_world("demo-v2"), directory, {"train": 24, "validation": 0, "unseen": 0})
    return directory


def interrupted(tmp_path, data_dir, count, signalled, lines, *overrides):
    """Trains until the metrics have ``lines`` lines, asks one process to stop; returns exit codes and what was said."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    workdir = tmp_path / "workdir"
    config = ["--config", "configs/encoder.py:demo", "--workdir", str(workdir), "--data_dir", str(data_dir)]
    env = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    processes = []
    for index in range(count):
        command = [sys.executable, str(program), str(index), str(count), str(port), *config, *RUN, *overrides]
        command.append("--config.data.validation=")
        processes.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True))
    metrics, deadline = workdir / "metrics.jsonl", time.monotonic() + 240
    while not (metrics.exists() and metrics.read_text().count("\n") >= lines) and time.monotonic() < deadline:
        time.sleep(0.02)
    processes[signalled].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=240)[1] for process in processes]
    return [process.returncode for process in processes], said, Store(workdir / "checkpoints", read_only=True).latest()


@pytest.mark.slow
def test_one_process_with_data_workers_saves_and_goes_on(tmp_path, data_dir):
    codes, said, first = interrupted(tmp_path, data_dir, 1, 0, 3, "--config.data.num_workers=2")
    assert codes == [75], said
    assert f"interrupted: step {first} is saved. Start the same command again: it resumes." in said[0]
    codes, said, second = interrupted(tmp_path, data_dir, 1, 0, first + 2, "--config.data.num_workers=2")
    assert codes == [75], said
    assert f"resuming at step {first}" in said[0]
    assert second > first


@pytest.mark.slow
def test_several_processes_stop_at_one_step_whichever_was_asked(tmp_path, data_dir):
    codes, said, first = interrupted(tmp_path, data_dir, 2, 1, 3)
    assert codes == [75, 75], said
    codes, said, second = interrupted(tmp_path, data_dir, 2, 0, first + 2)
    assert codes == [75, 75], said
    for line in said:
        assert f"interrupted: step {second} is saved" in line
    assert f"resuming at step {first}" in said[0]
