import dataclasses
import shutil

import numpy as np
import pytest

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import CheckpointError
from hilight_jax.runs.provenance import fingerprint, load_known, load_part, read_provenance, write_provenance

VISION = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}
MINING = {"query": {"kernel": np.ones((2, 2), np.float32)}}


def save(workdir, params, step=1):
    store = Store(workdir / "checkpoints")
    store.save(step, params, {"count": np.zeros(())}, {"step": step}, {})
    store.close()


@pytest.fixture
def runs(tmp_path):
    """An encoder, and a run that took its tower and trained token mining."""
    encoder, chat = tmp_path / "encoder", tmp_path / "chat"
    save(encoder, {"vision": VISION, "logit_scale": np.zeros(())})
    save(chat, {"token_mining": MINING})
    write_provenance(chat, {"vision": load_part(encoder, "vision")[1]})
    return encoder, chat


def test_a_part_comes_from_the_run_that_trained_it(runs):
    encoder, chat = runs
    mining, origin = load_part(chat, "token_mining")
    assert mining["query"]["kernel"].tolist() == [[1, 1], [1, 1]] and origin.workdir == str(chat)
    vision, origin = load_part(chat, "vision")
    assert vision["kernel"].tolist() == VISION["kernel"].tolist() and origin.workdir == str(encoder)
    assert origin == read_provenance(chat)["vision"]


def test_a_step_saved_later_does_not_change_what_a_run_was_built_on(runs):
    encoder, chat = runs
    save(encoder, {"vision": {"kernel": VISION["kernel"] + 1}, "logit_scale": np.zeros(())}, step=2)
    assert load_part(chat, "vision")[0]["kernel"].tolist() == VISION["kernel"].tolist()
    assert load_part(encoder, "vision")[1].step == 2


def test_a_folder_of_runs_can_be_moved_as_a_whole(runs, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    for run in runs:
        shutil.move(run, there / run.name)
    vision, origin = load_part(there / "chat", "vision")
    assert vision["kernel"].tolist() == VISION["kernel"].tolist() and origin.workdir == str(there / "encoder")


def test_a_part_that_was_lost_is_named_with_its_place(runs):
    encoder, chat = runs
    shutil.rmtree(encoder)
    with pytest.raises(
        CheckpointError, match=r"part 'vision' was taken from step 1 of '.*encoder', which cannot be read"
    ):
        load_part(chat, "vision")


def test_a_part_with_other_values_is_refused(runs):
    _, chat = runs
    origin = dataclasses.replace(read_provenance(chat)["vision"], fingerprint="0" * 32)
    with pytest.raises(CheckpointError, match="whose values have changed since"):
        load_known("vision", origin)


def test_a_part_that_no_run_has_is_named(runs):
    with pytest.raises(CheckpointError, match="has no part 'gemma'"):
        load_part(runs[1], "gemma")


def test_a_damaged_provenance_is_one_sentence(runs):
    (runs[1] / "provenance.json").write_text('{"vision": {"workdir": "x"}}')
    with pytest.raises(CheckpointError, match="is damaged"):
        load_part(runs[1], "vision")


def test_a_fingerprint_sees_names_shapes_types_and_values():
    x = np.arange(6, dtype=np.float32)
    prints = [
        fingerprint({"a": x}),
        fingerprint({"b": x}),
        fingerprint({"a": x.reshape(2, 3)}),
        fingerprint({"a": x.astype(np.float64)}),
        fingerprint({"a": x + 1}),
    ]
    assert len(set(prints)) == 5
    assert fingerprint({"a": x.copy()}) == prints[0]
