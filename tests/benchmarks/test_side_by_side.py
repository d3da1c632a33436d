"""Runs side by side: stand-ins that note which cores they were given."""

import dataclasses
import os
import sys
import threading
from pathlib import Path

import pytest

from hilight_jax.benchmarks import run_table
from hilight_jax.benchmarks.run_table import RunTable
from hilight_jax.benchmarks.side_by_side import core_sets, train_side_by_side
from hilight_jax.core.errors import UserError
from hilight_jax.pages.ablation_table import Layout

TABLE = RunTable(
    name="colours",
    about="",
    config="configs/encoder.py",
    spec="{config}:{argument}",
    rows={"red": "demo,setting=0", "blue": "demo"},
    splits=("validation",),
    figures=lambda workdir: {},
    layout=Layout("Colours", "colour", {"right": "right"}, ""),
)


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 5, 6, 7})


def test_cores_are_divided_evenly_and_none_is_in_two_sets(four_cores):
    assert core_sets(1) == [{4, 5, 6, 7}]
    assert core_sets(2) == [{4, 5}, {6, 7}]
    assert core_sets(3) == [{4}, {5}, {6}]


@pytest.mark.parametrize("number", [0, 5])
def test_more_runs_than_cores_are_refused(four_cores, number):
    with pytest.raises(UserError, match=f"--at_once is {number}, but must be from 1 to 4"):
        core_sets(number)


def test_a_system_that_cannot_pin_says_so(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(UserError, match="--at_once needs Linux"):
        core_sets(2)


def test_two_runs_never_share_a_core_and_the_table_is_written_after_each(four_cores, tmp_path):
    together, lock, used, writes = threading.Barrier(2, timeout=20), threading.Lock(), [], []

    def train(self, cell, data_dir, cores, log):
        together.wait()  # Two have begun.
        with lock:
            used.append((cell.row, cell.seed, frozenset(cores)))
        together.wait()

    table = dataclasses.replace(TABLE)
    object.__setattr__(table, "train", train.__get__(table))
    train_side_by_side(table, TABLE.cells("f", tmp_path, [0, 1]), tmp_path, 2, lambda: writes.append(len(used)))
    assert {run[:2] for run in used} == {("red", 0), ("blue", 0), ("red", 1), ("blue", 1)} and len(writes) == 4
    for pair in (used[:2], used[2:]):
        assert {cores for *_, cores in pair} == {frozenset({4, 5}), frozenset({6, 7})}


def test_after_a_failure_no_other_run_begins(four_cores, tmp_path):
    begun = []

    def train(self, cell, data_dir, cores, log):
        begun.append(cell.row)
        raise UserError("it failed")

    table = dataclasses.replace(TABLE)
    object.__setattr__(table, "train", train.__get__(table))
    with pytest.raises(UserError, match="it failed"):
        train_side_by_side(table, TABLE.cells("f", tmp_path, [0, 1]), tmp_path, 1, lambda: None)
    assert begun == ["red"]


def test_a_process_is_kept_on_its_cores_and_its_messages_are_in_its_log(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\ntime.sleep(0.3)\nprint(sorted(os.sched_getaffinity(0)), file=sys.stderr)\nsys.exit(3)\n"
    )
    (tmp_path / "python").write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(run_table.sys, "executable", str(tmp_path / "python"))
    core, log = min(os.sched_getaffinity(0)), Path(tmp_path / "run.log")
    with pytest.raises(UserError, match=f"failed; its messages are in {log}; start the same command again"):
        TABLE.train(TABLE.cells("f", tmp_path, [0])[0], tmp_path, {core}, log)
    assert log.read_text() == f"[{core}]\n"
