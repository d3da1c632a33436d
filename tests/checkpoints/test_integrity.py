"""A damaged newest checkpoint is set aside for the one before it, nothing is deleted, and no run begins anew."""

import re
import shutil

import numpy as np
import pytest

from hilight_jax.checkpoints.integrity import SIZES, damage, steps_in
from hilight_jax.checkpoints.store import KeepConfig, Store
from hilight_jax.core.errors import CheckpointError, UnreadableCheckpoint
from tests.checkpoints.test_store import OPTIMIZER, PARAMS, saved

KEEP = KeepConfig(best_metric="score")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "checkpoints"
    saved(directory, (1, 2), {1: {"score": 0.1}, 2: {"score": 0.2}})[0].close()
    return directory


@pytest.fixture
def checkpoints(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "checkpoints")


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def halve_arrays(step):
    for path in (step / "vision" / "d").iterdir():
        cut(path, path.stat().st_size // 2)


DAMAGES = {
    "truncated array": (halve_arrays, r"vision/d/\w+ has \d+ of \d+ bytes"),
    "empty index": (lambda step: cut(step / "optimizer" / "manifest.ocdbt", 0), "optimizer/manifest.ocdbt has 0 of"),
    "missing file": (lambda step: (step / "text" / "manifest.ocdbt").unlink(), "text/manifest.ocdbt is missing"),
    "missing item": (lambda step: shutil.rmtree(step / "text"), "text is missing"),
    "empty item": (lambda step: (step / "config" / "metadata").unlink(), "config is empty"),
    "torn JSON": (lambda step: cut(step / "position" / "metadata", 5), "position/metadata is not JSON"),
    "torn metrics": (lambda step: cut(step / "metrics" / "metrics", 5), "metrics/metrics is not JSON"),
    "no commit marker": (lambda step: (step / "_CHECKPOINT_METADATA").unlink(), "_CHECKPOINT_METADATA is missing"),
    "torn commit marker": (lambda step: cut(step / "_CHECKPOINT_METADATA", 40), "its JSON files cannot be read"),
    "torn size list": (lambda step: cut(step / SIZES, 40), "its JSON files cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_newest_step_falls_back_and_is_kept_aside(name, checkpoints, caplog):
    harm, sentence = DAMAGES[name]
    harm(checkpoints / "2")
    reader = Store(checkpoints, KEEP, read_only=True)
    assert (reader.latest(), reader.best()) == (1, 1)
    assert "step 2" in caplog.text and "passed over" in caplog.text
    store = Store(checkpoints, KEEP)
    assert store.latest() == 1
    np.testing.assert_array_equal(store.restore_params(1)["vision"]["kernel"], PARAMS["vision"]["kernel"])
    assert re.search(sentence, caplog.text)
    assert steps_in(checkpoints) == [1]
    assert steps_in(checkpoints.with_name("broken_checkpoints")) == [2]
    store.save(2, PARAMS, OPTIMIZER.init(PARAMS), {"step": 2}, {"seed": 0}, {"score": 0.2})
    store.close()
    assert damage(checkpoints / "2") == ""
    harm(checkpoints / "2")
    Store(checkpoints, KEEP).close()
    assert {path.name for path in checkpoints.with_name("broken_checkpoints").iterdir()} == {"2", "2-2"}


def test_where_every_step_is_damaged_nothing_begins_anew(checkpoints):
    for step in ("1", "2"):
        halve_arrays(checkpoints / step)
    for read_only in (True, False):
        with pytest.raises(CheckpointError, match="no checkpoint in .* can be read .step 2: vision.*; step 1: vision"):
            Store(checkpoints, KEEP, read_only=read_only)
    assert steps_in(checkpoints) == [1, 2]


def test_what_only_reading_shows_is_set_aside_too(checkpoints):
    for path in (checkpoints / "2" / "vision" / "d").iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:100] + bytes(5) + data[105:])
    store = Store(checkpoints, KEEP)
    assert store.latest() == 2
    with pytest.raises(UnreadableCheckpoint, match="step 2 in .* cannot be read: DATA_LOSS"):
        store.restore_params(2)
    store.set_aside(2, "step 2 cannot be read.")
    assert store.latest() == 1
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        store.set_aside(1, "step 1 cannot be read.")
    assert steps_in(checkpoints) == [1]


def test_a_step_without_a_size_list_is_still_whole(checkpoints):
    (checkpoints / "2" / SIZES).unlink()
    assert Store(checkpoints, KEEP, read_only=True).latest() == 2
