"""align and tune in one process on a small world: what is trained, what is saved, what a cache changes (nothing)."""

import json
import shutil

import jax
import numpy as np
import pytest

from hilight_jax import train
from hilight_jax.billiards.dataset import build
from hilight_jax.billiards.worlds import get_world
from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import CheckpointError, DataError
from hilight_jax.runs.provenance import load_part
from hilight_jax.stages.load_config import read_config
from hilight_jax.stages.trained_chat import load_chat_model
from tests.stages.runs import chat_overrides, make_towers
from tests.stages.tiny_chat import SMALL

RUN = (*SMALL, "--config.log_every=1", "--config.cache_gb=0", "--config.steps=2", "--config.eval_every=2")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    build(get_world("demo-v2"), directory, {"train": 24, "validation": 8, "unseen": 0})
    return directory


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    return make_towers(tmp_path_factory.mktemp("towers"))


def run(stage, workdir, data_dir, *overrides):
    train.main([
        *("--config", f"configs/{stage}.py:demo,frames=long_clip", "--workdir", str(workdir)),
        *("--data_dir", str(data_dir), *RUN, *overrides),
    ])  # fmt: skip
    return workdir


@pytest.fixture(scope="module")
def aligned(tmp_path_factory, towers, data_dir):
    return run("align", tmp_path_factory.mktemp("runs") / "align", data_dir, *chat_overrides(*towers))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, aligned, data_dir):
    return run("tune", tmp_path_factory.mktemp("runs") / "tune", data_dir, f"--config.sources.align={aligned}")


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def saved(workdir):
    store = Store(workdir / "checkpoints", read_only=True)
    return store.restore_params(store.latest())


def test_every_stage_saves_what_it_trained_and_nothing_else(aligned, tuned):
    assert sorted(saved(aligned)) == ["gemma", "token_mining", "word_tracks"]
    assert sorted(saved(tuned)) == ["lora", "token_mining", "word_tracks"]


def test_the_steps_change_what_is_trained_and_leave_the_rest(aligned, tuned):
    before, after = saved(aligned), saved(tuned)
    assert not np.array_equal(
        before["token_mining"]["value"]["linear"]["kernel"], after["token_mining"]["value"]["linear"]["kernel"]
    )
    assert any(np.any(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(after["lora"]) if path[-1].key == "b")
    gemma, origin = load_part(tuned, "gemma")
    assert origin.workdir == str(aligned)
    jax.tree.map(np.testing.assert_array_equal, gemma, before["gemma"])


def test_a_model_is_put_together_from_all_of_its_runs(aligned, tuned, towers):
    model = load_chat_model(tuned)
    origins = {part: origin.workdir for part, origin in model.origins.items()}
    assert origins == {
        "vision": str(towers[0]),
        "text": str(towers[0]),
        "local": str(towers[0]),
        "frames": str(towers[1]),
        "token_mining": str(tuned),
        "word_tracks": str(tuned),
        "gemma": str(aligned),
        "lora": str(tuned),
    }
    assert model.step == 2
    assert model.tokenizer.read_bytes() == (aligned / "tokenizer.model").read_bytes()


def test_validation_gives_the_loss_and_the_share_of_right_answers(aligned):
    last = records(aligned)[-1]
    assert 0 < last["validation/next_token"] < 10 and 0 <= last["validation/answers_right"] <= 1


def test_training_on_stored_tower_outputs_gives_the_same_losses(aligned, towers, data_dir, tmp_path):
    cached = ("--config.cache_gb=1", f"--config.data_dir={tmp_path}")
    sources = {split: getattr(read_config(aligned).data, split) for split in ("train", "validation")}
    place = [f"--config.data.{split}={source}" for split, source in sources.items()]
    losses = [[record["next_token"] for record in records(aligned) if "next_token" in record]]
    for name in ("fills the cache", "reads the cache"):
        workdir = run("align", tmp_path / name, data_dir, *chat_overrides(*towers), *cached, *place)
        losses.append([record["next_token"] for record in records(workdir) if "next_token" in record])
    assert list(tmp_path.rglob("*.npz"))
    assert losses[0] == losses[1] == losses[2] and len(losses[0]) == 2


def test_an_interrupted_stage_goes_on_from_its_checkpoint(tuned, aligned, data_dir, tmp_path):
    overrides = (f"--config.sources.align={aligned}", "--config.keep.every=1")
    whole = run("tune", tmp_path / "whole", data_dir, *overrides)
    halted = tmp_path / "halted"
    # A run whose second step was never saved: its first checkpoint and its records are there.
    run("tune", halted, data_dir, *overrides)
    Store(halted / "checkpoints").close()
    shutil.rmtree(halted / "checkpoints" / "2")
    run("tune", halted, data_dir, *overrides)
    jax.tree.map(np.testing.assert_array_equal, saved(halted), saved(whole))
    assert [r["next_token"] for r in records(halted) if "next_token" in r] == [
        r["next_token"] for r in records(whole) if "next_token" in r
    ]


def test_towers_of_another_width_are_one_sentence(towers, data_dir, tmp_path):
    with pytest.raises(CheckpointError, match="the towers do not fit config.model: .*local"):
        run("align", tmp_path / "w", data_dir, *chat_overrides(*towers), "--config.model.word_tracks.embed_dim=8")


def test_the_wrong_stage_and_a_missing_tokenizer_are_one_sentence(aligned, towers, data_dir, tmp_path):
    with pytest.raises(CheckpointError, match="cannot chat; name a run of align or tune"):
        load_chat_model(towers[0])
    with pytest.raises(DataError, match="config.data.tokenizer names no file"):
        run("align", tmp_path / "w", data_dir, *chat_overrides(*towers), "--config.generate_missing=false")
