"""The train command in one process: checks before work, ways to start, and what a workdir refuses."""

import json
from unittest import mock

import numpy as np
import pytest

from hilight_jax import train
from hilight_jax.billiards.dataset import build
from hilight_jax.billiards.encoding import encode_video
from hilight_jax.billiards.worlds import get_world
from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import CheckpointError, ConfigError, DataError
from hilight_jax.stages.load_config import build_run
from hilight_jax.stages.start import check_workdir
from tests.stages.tiny import SMALL

RUN = (*SMALL, "--config.generate_missing=false", "--config.log_every=1")
RUN += ("--config.data.validation=",)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    build(get_world("demo-v2"), directory, {"train": 16, "validation": 0, "unseen": 0})
    return directory


def run(workdir, data_dir, *overrides, preset="demo"):
    arguments = ["--config", f"configs/encoder.py:{preset}", "--workdir", str(workdir), "--data_dir", str(data_dir)]
    return train.main([*arguments, *RUN, *overrides])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    """A run of two steps without local loss."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    run(workdir, data_dir, "--config.steps=2", preset="demo,setting=0")
    return workdir


def test_a_dry_run_writes_nothing(tmp_path, data_dir, capsys):
    run(tmp_path / "w", data_dir, "--dry_run")
    assert "dry run" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_a_dry_run_generates_nothing(tmp_path, capsys):
    run(tmp_path / "w", tmp_path / "none", "--dry_run", "--config.generate_missing=true")
    assert "would be generated" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_says_so_and_another_configuration_is_refused(finished, data_dir, capsys):
    run(finished, data_dir, "--config.steps=2", "--config.log_every=2", preset="demo,setting=0")
    assert "is finished" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="another configuration .config.seed: 0 -> 1."):
        run(finished, data_dir, "--config.steps=2", "--config.seed=1", preset="demo,setting=0")


def test_a_run_from_before_a_key_was_added_has_its_default(finished):
    def forget(name, saved):
        return {key: value for key, value in saved.items() if key != name}

    store = Store(finished / "checkpoints", read_only=True)
    saved = store.config(2)
    config = build_run(saved)
    with mock.patch.object(Store, "config", lambda self, step: forget("freeze", saved)):
        check_workdir(config, finished)
    with mock.patch.object(Store, "config", lambda self, step: forget("seed", saved) | {"gone": 1}):
        with pytest.raises(CheckpointError, match="config.gone: 1 -> None"):
            check_workdir(config, finished)


def test_records_hold_every_step_and_the_rate(finished):
    records = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2]
    assert {"loss", "nce", "gradient_norm", "learning_rate", "seconds_per_step", "data_wait_share"} <= set(records[0])


def test_another_run_is_a_start_if_every_name_fits_or_is_skipped(finished, tmp_path, data_dir, capsys):
    start = (f"--config.init_from.workdir={finished}", "--config.init_from.which=latest", "--config.steps=1")
    with pytest.raises(CheckpointError, match="does not fit this model: missing 'local/"):
        run(tmp_path / "strict", data_dir, *start)
    run(tmp_path / "skipping", data_dir, *start, "--config.init_from.skip=['local.*']")
    assert "starting from the latest parameters" in capsys.readouterr().err
    assert Store(tmp_path / "skipping" / "checkpoints", read_only=True).latest() == 1


@pytest.mark.parametrize(
    ("override", "error", "sentence"),
    [
        ("--config.batchsize=8", ConfigError, "config.batchsize is not a known key. Did you mean 'batch_size'"),
        ("--config.seed=-1", ConfigError, "config.seed is -1"),
        ("--config.freeze=['(']", ConfigError, "is not a regular expression"),
        ("--config.freeze=['.*']", ConfigError, "nothing is trained"),
        ("--config.freeze=['visionary']", ConfigError, "matches no parameter"),
        ("--config.batch_size=12", ConfigError, "does not divide"),
        ("--config.loss.local.group_size=16", ConfigError, "does not divide"),
        ("--config.keep.latest=0", ConfigError, "config.keep.latest is 0"),
        ("--config.data=3", ConfigError, "config.data is 3"),
        ("--config.data.train=", DataError, "names no clips"),
        ("--config.data.train=manifest:nowhere.jsonl", DataError, "nowhere.jsonl"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_written(override, error, sentence, tmp_path, data_dir):
    with pytest.raises(error, match=sentence):
        run(tmp_path / "w", data_dir, override)
    assert not (tmp_path / "w").exists()


def test_a_missing_manifest_is_not_taken_for_a_world_to_generate(tmp_path, data_dir):
    options = ("--config.generate_missing=true", "--config.data.train=manifest:nowhere.jsonl", "--dry_run")
    with pytest.raises(DataError, match="nowhere.jsonl"):
        run(tmp_path / "w", data_dir, *options)


def test_too_many_bad_clips_stop_the_run_before_a_checkpoint_is_kept(tmp_path, data_dir):
    frames = np.zeros((4, 64, 64, 3), np.uint8)
    (tmp_path / "good.mp4").write_bytes(encode_video(frames, fps=2))
    (tmp_path / "bad.mp4").write_bytes(b"")
    lines = [json.dumps({"video": f"{name}.mp4", "text": "the red ball"}) for name in ("good", "bad")]
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="could not be used .config.data.max_bad_fraction allows 5%.*bad.mp4"):
        run(tmp_path / "w", data_dir, f"--config.data.train=manifest:{tmp_path / 'clips.jsonl'}", "--config.steps=1")
    assert Store(tmp_path / "w" / "checkpoints", read_only=True).latest() is None


def test_a_workdir_that_is_a_file_is_refused_at_once(tmp_path, data_dir):
    (tmp_path / "file").write_text("")
    for workdir in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="cannot be made: '.*file' is a file; name another --workdir"):
            run(workdir, data_dir, "--dry_run")


def test_somebody_elses_config_json_is_not_replaced(tmp_path, data_dir):
    (tmp_path / "config.json").write_text('{"model": {"a": 1}}')
    with pytest.raises(CheckpointError, match="holds a config.json that is no run's"):
        run(tmp_path, data_dir)
    assert (tmp_path / "config.json").read_text() == '{"model": {"a": 1}}'
