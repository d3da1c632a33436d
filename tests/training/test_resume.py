"""A run that is killed with -9 and started again ends bitwise as one that was never killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hilight_jax.billiards.dataset import build
from hilight_jax.billiards.worlds import get_world
from hilight_jax.checkpoints.store import Store
from hilight_jax.core import trees
from tests.stages.tiny import SMALL

TIMINGS = ("seconds_per_step", "data_wait_share", "examples_per_second")
RUN = (
    *SMALL,
    "--config.batch_size=8",
    "--config.model.compute.unroll=false",
    "--config.generate_missing=false",
    "--config.steps=12",
    "--config.log_every=1",
    "--config.eval_every=4",
    "--config.keep.every=3",
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    build(get_world("demo-v2"), directory, {"train": 24, "validation": 8, "unseen": 0})
    return directory


def command(workdir: Path, data_dir: Path, *overrides: str) -> list[str]:
    config = ["--config", "configs/encoder.py:demo", "--workdir", str(workdir), "--data_dir", str(data_dir)]
    return [sys.executable, "-m", "hilight_jax.train", *config, *RUN, *overrides]


def start(*args, **kwargs) -> subprocess.Popen:
    env = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command(*args, **kwargs), env=env, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> str:
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def records(workdir: Path) -> list[dict]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMINGS} for line in lines]


def final_params(workdir: Path) -> dict[str, np.ndarray]:
    store = Store(workdir / "checkpoints", read_only=True)
    assert store.latest() == 12
    return trees.flatten(store.restore_params(12))


@pytest.mark.slow
def test_kill_9_and_start_again(tmp_path, data_dir):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first = start(whole, data_dir)
    second = start(killed, data_dir)
    metrics = killed / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text().count("\n") >= 6) and time.monotonic() < deadline:
        time.sleep(0.02)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    assert second.returncode == -signal.SIGKILL
    assert Store(killed / "checkpoints", read_only=True).latest() in (3, 4, 6, 8, 9)
    finish(first)
    assert "resuming at step" in finish(start(killed, data_dir))
    assert records(killed) == records(whole)
    ours, theirs = final_params(killed), final_params(whole)
    assert ours.keys() == theirs.keys()
    for path, x in ours.items():
        np.testing.assert_array_equal(x, theirs[path], err_msg=path)
    assert "is finished" in finish(start(killed, data_dir))


def refused(workdir, data_dir, *overrides) -> str:
    process = start(workdir, data_dir, *overrides)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "Traceback" not in said
    return said.splitlines()[-1]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_names_the_step_and_keeps_the_last_checkpoint(tmp_path, data_dir):
    overrides = [
        "--config.optimizer.learning_rate=1e30",
        "--config.optimizer.warmup_fraction=0.5",
        "--config.keep.every=1",
        "--config.eval_every=12",
    ]
    said = refused(tmp_path, data_dir, *overrides)
    assert said.startswith("error: step ") and "the last good checkpoint is kept" in said
    step = int(said.split()[2].rstrip(":"))
    assert step > 1
    assert Store(tmp_path / "checkpoints", read_only=True).latest() == step - 1
