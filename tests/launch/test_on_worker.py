"""The scripts that run on a worker: the restart loop, starting it in the background, its state, the mount."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.launch.conftest import LAUNCH

# A trainer that ends with the codes of a list, one a start, and notes its words.
TRAINER = """
import pathlib, sys
codes = pathlib.Path(sys.argv[1])
first, *rest = codes.read_text().split()
codes.write_text(" ".join(rest))
sys.exit(int(first))
"""
SAVER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit(75)))
print("ready", flush=True)
time.sleep(20)
"""


def loop(bench, codes, restarts=2, **environment):
    (bench.path / "codes").write_text(codes)
    (bench.path / "trainer.py").write_text(TRAINER)
    words = (str(restarts), sys.executable, str(bench.path / "trainer.py"), str(bench.path / "codes"))
    return bench.run("on_worker/train_loop.sh", *words, **({"HILIGHT_FIRST_WAIT": "0"} | environment))


def state(bench):
    return bench.run("on_worker/state.sh").stdout.strip()


@pytest.mark.parametrize(
    ("codes", "left", "code", "became"),
    [
        ("0", "", 0, "done"),
        ("75 75 75 75 0", "", 0, "done"),
        ("2 0", "0", 2, "failed 2"),
        ("1 139 0", "", 0, "done"),
        ("1 1 1 0", "0", 1, "failed 1"),
        ("1 1 75 1 1 0", "", 0, "done"),
    ],
)
def test_the_loop_knows_the_exit_codes(bench, codes, left, code, became):
    assert loop(bench, codes).returncode == code
    assert (bench.path / "codes").read_text() == left
    assert state(bench) == f"hilight-state: {became}"


def test_a_crash_after_a_healthy_time_counts_anew(bench):
    assert loop(bench, "1 1 1 1 0", restarts=1, HILIGHT_HEALTHY_SECONDS="0").returncode == 0


def test_the_waits_grow(bench):
    (bench.path / "bin/sleep").write_text("#!/bin/sh\n")
    (bench.path / "bin/sleep").chmod(0o755)
    ended = loop(bench, "1 1 0", HILIGHT_FIRST_WAIT="1")
    assert "restart 1 of 2 in 1 s" in ended.stdout and "restart 2 of 2 in 2 s" in ended.stdout


def test_sigterm_lets_training_save_and_stops_the_loop(bench):
    (bench.path / "saver.py").write_text(SAVER)
    words = ["bash", str(LAUNCH / "on_worker/train_loop.sh"), "0", sys.executable, str(bench.path / "saver.py")]
    process = subprocess.Popen(words, env=os.environ | {"HOME": str(bench.home)}, stdout=subprocess.PIPE, text=True)
    while process.stdout.readline() != "ready\n":
        pass
    assert state(bench) == "hilight-state: running"
    process.send_signal(signal.SIGTERM)
    assert "stopped with exit code 75" in process.communicate(timeout=10)[0]
    assert process.returncode == 75 and state(bench) == "hilight-state: dead"


def test_nothing_installed_is_absent(bench):
    assert state(bench) == "hilight-state: absent"


def test_start_goes_to_the_background_once_and_trains_in_the_share(bench):
    home = bench.home / "hilight"
    (home / "venv/bin").mkdir(parents=True)
    (home / "source").mkdir()
    python = home / "venv/bin/python"
    python.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$PWD" "$@" > "$HOME/words"\nwhile [ ! -e "$HOME/end" ]; do sleep 0.05; done\n'
    )
    python.chmod(0o755)
    flags = ("--config", "configs/encoder.py:b16", "--config.name=a b")
    first = bench.run("on_worker/start.sh", "3", "b16", *flags)
    assert first.returncode == 0 and "training started" in first.stdout
    wait_for(lambda: state(bench) == "hilight-state: running" and (bench.home / "words").exists())
    assert "already runs" in bench.run("on_worker/start.sh", "3", "b16", *flags).stdout
    place = [str(home / "source"), "-m", "hilight_jax.train", "--workdir", str(home / "share/runs/b16")]
    expected = [*place, "--data_dir", str(home / "share/data"), *flags]
    wait_for(lambda: (bench.home / "words").read_text().splitlines() == expected)
    (bench.home / "end").touch()
    wait_for(lambda: state(bench) == "hilight-state: done")
    assert "loop: done" in (home / "log/train.log").read_text()


def test_a_bucket_is_mounted_once_without_caches(bench):
    bench.answer([["mountpoint"], "", 1])
    assert bench.run("on_worker/mount.sh", "bucket", "my-bucket").returncode == 0
    share = bench.home / "hilight/share"
    call = next(call for call in bench.calls() if call[0] == "gcsfuse")
    assert call[-2:] == ["my-bucket", str(share)] and "--metadata-cache-ttl-secs=0" in call
    assert (share / "runs").is_dir() and (share / "data").is_dir()
    bench.run("on_worker/mount.sh", "bucket", "my-bucket")
    assert [call[0] for call in bench.calls()].count("gcsfuse") == 1


def test_a_source_without_setup_py_is_refused(bench):
    (bench.path / "wrong").mkdir()
    subprocess.run(["tar", "-czf", "wrong.tar.gz", "wrong"], cwd=bench.path, check=True)
    ended = bench.run("on_worker/install.sh", "tpu", "wrong.tar.gz")
    assert ended.returncode == 2 and "holds no setup.py" in ended.stderr


def wait_for(fact, seconds=10):
    until = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < until
        time.sleep(0.05)
