import json
import types
from pathlib import Path

from hilight_jax.runs.ancestry import keep_ancestry, read_ancestry, training_command, without_places
from hilight_jax.stages.chat_config import Sources
from hilight_jax.training.run_config import InitFrom

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


def test_the_command_of_a_run_is_noted_without_places(tmp_path):
    changes = ["--config.steps=600", "--config.sources.encoder=runs/mine", "--config.data.train=tfds:/home/me/clips"]
    command = training_command("/home/me/configs/align.py:demo,tracks=off", changes, Path("/home/me/mini"))
    assert command == (
        "python -m hilight_jax.train --config configs/align.py:demo,tracks=off --data_dir=mini --config.steps=600 "
        "--config.sources.encoder=mine --config.data.train=clips"
    )
    patterns = training_command("align.py:demo", ['--config.optimizer.multipliers={"gemma/table":0.5}'])
    assert patterns == (
        "python -m hilight_jax.train --config align.py:demo '--config.optimizer.multipliers={\"gemma/table\":0.5}'"
    )
    keep_ancestry(config(), tmp_path, command)
    assert without_places(read_ancestry(tmp_path))["command"] == command
