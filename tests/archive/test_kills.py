"""An index whose run is killed at any moment and started again equals an undisturbed one, row for row."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.archive.films import index, rows_of, write_films

ROOT = Path(__file__).parents[2]


def start(films, uri):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.archive.films", str(films), str(uri)]
    return subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


# Nine of the ten moments are slow: shares of the time that an undisturbed run takes.
SHARES = (0.4, *(pytest.param(k / 12, marks=pytest.mark.slow) for k in range(9)))


@pytest.mark.parametrize("share", SHARES)
def test_a_killed_run_is_resumed_to_the_same_rows(tmp_path, share):
    films = write_films(tmp_path / "films")
    process = start(films, tmp_path / "undisturbed")
    assert process.stdout.readline() == "indexing\n"
    began = time.monotonic()
    assert process.communicate(timeout=120)[0] == "done\n"
    whole, killed = time.monotonic() - began, 0
    for attempt in range(3):
        process = start(films, tmp_path / "index")
        assert process.stdout.readline() == "indexing\n"
        time.sleep(whole * share * (1 - attempt / 4))  # Less is left of a run that goes on.
        killed += process.poll() is None
        process.kill()  # Its workers find the pipe closed and end.
        process.wait()
    last = start(films, tmp_path / "index")
    assert last.communicate(timeout=120)[0].endswith("done\n")
    assert killed and rows_of(tmp_path / "index") == rows_of(tmp_path / "undisturbed")


def test_two_processes_that_commit_at_once_lose_nothing(tmp_path):
    first, second = (write_films(tmp_path / name, 4) for name in ("a", "b"))
    index(first, tmp_path / "undisturbed")
    index(second, tmp_path / "undisturbed")
    both = [start(films, tmp_path / "index") for films in (first, second)]
    assert [process.communicate(timeout=120)[0] for process in both] == ["indexing\ndone\n"] * 2
    assert rows_of(tmp_path / "index") == rows_of(tmp_path / "undisturbed")
