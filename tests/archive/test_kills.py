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


@pytest.mark.parametrize("moment", [0.4, *(pytest.param(m, marks=pytest.mark.slow) for m in (0.0, 0.8, 1.6))])
def test_a_killed_run_is_resumed_to_the_same_rows(tmp_path, moment):
    films = write_films(tmp_path / "films")
    index(films, tmp_path / "undisturbed")
    killed = 0
    for attempt in range(3):
        process = start(films, tmp_path / "index")
        assert process.stdout.readline() == "indexing\n"
        time.sleep(moment + 0.15 * attempt)
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
