"""Runs side by side: stand-ins that note which cores they were given."""

import dataclasses
import json
import os
import sys
import threading

import pytest

from hilight_jax.core.errors import UserError
from hilight_jax.experiments import run_table
from hilight_jax.experiments.side_by_side import core_sets, train_side_by_side
from tests.experiments.colours import TABLE


@pytest.fixture
def pinned(monkeypatch):
    """The cores that each thread was last kept on, of a machine of four."""
    found = {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 5, 6, 7})
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: found.update({threading.get_ident(): cores}))
    return found


def test_cores_are_divided_evenly_and_none_is_in_two_sets(pinned):
    assert core_sets(1) == [{4, 5, 6, 7}]
    assert core_sets(2) == [{4, 5}, {6, 7}]
    assert core_sets(3) == [{4}, {5}, {6}]


@pytest.mark.parametrize("number", [0, 5])
def test_more_runs_than_cores_are_refused(pinned, number):
    with pytest.raises(UserError, match=f"--at_once is {number}, but must be from 1 to 4"):
        core_sets(number)


def test_a_system_that_cannot_pin_says_so(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(UserError, match="--at_once needs Linux"):
        core_sets(2)


def test_two_runs_never_share_a_core_and_the_table_is_written_after_each(pinned, tmp_path):
    together, lock, used, writes = threading.Barrier(2, timeout=20), threading.Lock(), [], []

    def train(self, cell, data_dir, log):
        together.wait()  # Two have begun.
        with lock:
            used.append((cell.row, cell.seed, frozenset(pinned[threading.get_ident()])))
        together.wait()

    table = dataclasses.replace(TABLE)
    object.__setattr__(table, "train", train.__get__(table))
    train_side_by_side(table, TABLE.cells("f", tmp_path, [0, 1]), tmp_path, 2, lambda: writes.append(len(used)))
    assert {run[:2] for run in used} == {("red", 0), ("blue", 0), ("red", 1), ("blue", 1)} and len(writes) == 4
    for pair in (used[:2], used[2:]):
        assert {cores for *_, cores in pair} == {frozenset({4, 5}), frozenset({6, 7})}


def test_after_a_failure_no_other_run_begins(pinned, tmp_path):
    begun = []

    def train(self, cell, data_dir, log):
        begun.append(cell.row)
        raise UserError("it failed")

    table = dataclasses.replace(TABLE)
    object.__setattr__(table, "train", train.__get__(table))
    with pytest.raises(UserError, match="it failed"):
        train_side_by_side(table, TABLE.cells("f", tmp_path, [0, 1]), tmp_path, 1, lambda: None)
    assert begun == ["red"]


@pytest.mark.parametrize("number", [1, 2])
def test_after_a_table_that_cannot_be_written_no_other_run_begins(pinned, tmp_path, number):
    begun = []
    table = dataclasses.replace(TABLE)
    object.__setattr__(table, "train", lambda cell, data_dir, log: begun.append(cell.row))

    def finished():
        raise UserError("no room")

    with pytest.raises(UserError, match="no room"):
        train_side_by_side(table, TABLE.cells("f", tmp_path, [0, 1, 2, 3]), tmp_path, number, finished)
    assert len(begun) <= number


def test_a_process_is_kept_on_its_cores_and_its_messages_are_in_its_log(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nprint(sorted(os.sched_getaffinity(0)), file=sys.stderr)\nsys.exit(3)\n")
    (tmp_path / "python").write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(run_table.sys, "executable", str(tmp_path / "python"))
    before, (cell, _) = os.sched_getaffinity(0), TABLE.cells("f", tmp_path, [0])
    messages = cell.workdir.with_name(f"{cell.workdir.name}.log")
    with pytest.raises(UserError, match=f"failed; its messages are in {messages}. Mend what it says"):
        train_side_by_side(TABLE, [cell], tmp_path, len(before), lambda: None)
    (core,) = json.loads(messages.read_text())
    assert core in before and os.sched_getaffinity(0) == before


def test_a_process_ends_with_the_one_that_waits_for_it(tmp_path, monkeypatch):
    ended = []

    class Process:
        def __init__(self, *_, **__):
            self.waits = 0

        def wait(self):
            self.waits += 1
            if self.waits == 1:
                raise KeyboardInterrupt
            ended.append("waited")

        def terminate(self):
            ended.append("terminated")

    monkeypatch.setattr(run_table.subprocess, "Popen", Process)
    with pytest.raises(KeyboardInterrupt):
        TABLE.train(TABLE.cells("f", tmp_path, [0])[0], tmp_path)
    assert ended == ["terminated", "waited"]
