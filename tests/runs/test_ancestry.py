import json
import shlex
import types
from pathlib import Path

import pytest

from hilight_jax.runs.ancestry import keep_ancestry, read_ancestry, training_command, without_places
from hilight_jax.stages.chat_config import Sources
from hilight_jax.training.run_config import InitFrom

START = "python -m hilight_jax.train --config"
CONVERTED = {"made_by": "convert", "kind": "CLIP", "files": [{"path": "x.pt", "bytes": 3, "sha256": "ab"}]}


def config(**changes):
    return types.SimpleNamespace(**{"stage": "encoder", "preset": "b16", "seed": 3, "init_from": None, **changes})


def test_a_run_carries_the_record_of_what_it_started_from(tmp_path):
    for name in ("clip", "encoder", "align"):
        (tmp_path / name).mkdir()
    (tmp_path / "clip" / "ancestry.json").write_text(json.dumps(CONVERTED))
    keep_ancestry(config(init_from=InitFrom(str(tmp_path / "clip"))), tmp_path / "encoder")
    sources = Sources(encoder=str(tmp_path / "encoder"))
    keep_ancestry(config(stage="align", sources=sources), tmp_path / "align")
    (tmp_path / "clip" / "ancestry.json").unlink()
    record = read_ancestry(tmp_path / "align")
    assert (record["made_by"], record["stage"], record["preset"], record["seed"]) == ("train", "align", "b16", 3)
    encoder = record["started_from"]["encoder"]
    assert list(record["started_from"]) == ["encoder"]
    assert encoder["started_from"]["init_from"]["files"] == CONVERTED["files"]
    assert "jax 0." in record["libraries"]


def test_a_run_that_goes_on_keeps_its_record(tmp_path):
    keep_ancestry(config(), tmp_path)
    keep_ancestry(config(seed=4), tmp_path)
    assert read_ancestry(tmp_path)["seed"] == 3


def test_an_older_run_has_none(tmp_path):
    assert read_ancestry(tmp_path) == {}


def test_what_is_published_names_files_and_no_places():
    file = {"path": "/home/me/secret/x.pt", "bytes": 3, "sha256": "ab"}
    parent = {"workdir": "/home/me/runs/clip", "files": [file], "options": {"to": "/home/me"}}
    found = without_places({"made_by": "train", "started_from": {"init_from": parent}})
    assert found == {
        "made_by": "train",
        "started_from": {"init_from": {"workdir": "clip", "files": [{"path": "x.pt", "bytes": 3, "sha256": "ab"}]}},
    }


@pytest.mark.parametrize(
    ("given", "published"),
    [
        ("--config.steps=600", "--config.steps=600"),
        ("config.steps=600", "--config.steps=600"),
        ("--config.sources.encoder=runs/mine", "--config.sources.encoder=runs/mine"),
        ("--config.sources.encoder=/home/me/runs/mine", "--config.sources.encoder=mine"),
        ("--config.data_dir=../secret/clips", "--config.data_dir=clips"),
        ("--config.data.things=('the 8/9 ball',)", "--config.data.things=('the 8/9 ball',)"),
        (
            "--config.data.train=questions:/d/demo-v2/1.0.0/train,two_clips=0.1",
            "--config.data.train=questions:demo-v2/1.0.0/train,two_clips=0.1",
        ),
        (
            "--config.data.train=valley:/home/me/valley.json,videos=/home/me/films",
            "--config.data.train=valley:valley.json,videos=films",
        ),
        ("--config.optimizer.multipliers={'gemma/table':0.5}", "--config.optimizer.multipliers={'gemma/table':0.5}"),
        ("--config.init_from.skip=('gemma/.*',)", "--config.init_from.skip=('gemma/.*',)"),
    ],
)
def test_a_command_is_published_with_its_patterns_and_without_places(given, published):
    command = training_command("configs/align.py:demo", [given])
    assert shlex.split(command) == [*START.split(), "configs/align.py:demo", published]


def test_a_published_command_names_a_config_and_a_data_dir():
    assert training_command("/home/me/configs/align.py:demo", []) == f"{START} configs/align.py:demo"
    assert training_command("/home/me/align.py", []) == training_command("align.py", []) == f"{START} align.py"
    assert training_command("align.py", [], Path("data/mini")) == f"{START} align.py --data_dir=data/mini"
    assert training_command("align.py", [], Path("/home/me/mini")) == f"{START} align.py --data_dir=mini"


def test_a_record_notes_the_last_command_and_the_number_of_examples(tmp_path):
    keep_ancestry(config(), tmp_path, "first", 7)
    keep_ancestry(config(seed=4), tmp_path, "second", 7)
    record = without_places(read_ancestry(tmp_path))
    assert (record["command"], record["examples"], record["seed"]) == ("second", 7, 3)
