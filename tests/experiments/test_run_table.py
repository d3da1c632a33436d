"""A table of two rows whose runs are made of a file or two."""

import dataclasses
import sys

import pytest

from hilight_jax.core.errors import UserError
from hilight_jax.experiments import run_table
from tests.experiments import colours

TABLE = dataclasses.replace(colours.TABLE, evaluate=(("--split", "validation"), ("--which", "best")))


def train_command(seeds):
    return f"train seeds {seeds}"


def test_cells_are_in_the_order_of_training(tmp_path):
    cells = TABLE.cells("file.py", tmp_path, [0, 1], ["config.steps=7"])
    assert [(cell.row, cell.seed) for cell in cells] == [("red", 0), ("blue", 0), ("red", 1), ("blue", 1)]
    assert cells[2].spec == "file.py:demo,setting=0" and cells[2].workdir == tmp_path / "demo-setting0-seed1"
    assert cells[2].overrides == ("config.seed=1", "config.steps=7")


def test_a_cell_is_trained_and_evaluated_in_processes_of_their_own(tmp_path, monkeypatch):
    started = []

    class Done:
        def wait(self):
            return 0

    monkeypatch.setattr(run_table.subprocess, "Popen", lambda command, **_: started.append(command) or Done())
    (cell, _) = TABLE.cells("file.py", tmp_path, [1])
    TABLE.train(cell, tmp_path / "data")
    workdir, python = str(tmp_path / "demo-setting0-seed1"), [sys.executable, "-m"]
    config = ["--config", "file.py:demo,setting=0", "--config.seed=1"]
    place = ["--workdir", workdir, "--data_dir", str(tmp_path / "data")]
    assert started == [
        [*python, "hilight_jax.train", *config, *place],
        [*python, "hilight_jax.evaluate", "--checkpoint", workdir, "--split", "validation"],
        [*python, "hilight_jax.evaluate", "--checkpoint", workdir, "--which", "best"],
    ]


def test_a_process_that_fails_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(run_table.sys, "executable", "false")
    with pytest.raises(UserError, match="'python -m hilight_jax.train .*' failed. Mend what it says, then start"):
        TABLE.train(TABLE.cells("file.py", tmp_path, [1])[0], tmp_path)


def test_new_and_empty_folders_and_those_of_the_table_are_taken(tmp_path):
    TABLE.check_workdir(tmp_path / "new")
    TABLE.check_workdir(tmp_path)
    (tmp_path / "demo-setting0-seed7").mkdir()
    (tmp_path / "log.txt").touch()
    TABLE.check_workdir(tmp_path)
    TABLE.write(tmp_path / "table", [], train_command)
    TABLE.check_workdir(tmp_path / "table")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("config.json", "is the working directory of a training run: it holds config.json; give --workdir a new"),
        ("checkpoints", "is the working directory of a training run: it holds checkpoints; give --workdir a new"),
        ("letter.txt", "holds 'letter.txt' and no run of this table; give --workdir a new .* such as runs/colours"),
        ("demo-contrastboth-seed0", "holds 'demo-contrastboth-seed0' and no run of this table"),
    ],
)
def test_other_folders_are_refused(tmp_path, name, sentence):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=sentence):
        TABLE.check_workdir(tmp_path)


def test_a_run_that_a_table_was_written_into_is_still_refused(tmp_path):
    TABLE.write(tmp_path, [], train_command)
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match="is the working directory of a training run"):
        TABLE.check_workdir(tmp_path)


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file' is a file; give --workdir"):
        TABLE.check_workdir(tmp_path / "file")


def test_a_table_without_a_curve_has_no_page(tmp_path):
    table = TABLE.write(tmp_path, TABLE.cells("configs/encoder.py", tmp_path, [0]), train_command)
    assert table == {
        "date": None,
        "command": "train seeds [0]",
        "rows": [
            {"name": "red", "runs": [{"seed": 0, "not_run": "not trained"}]},
            {"name": "blue", "runs": [{"seed": 0, "not_run": "not trained"}]},
        ],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colours.json", "colours.md"]
