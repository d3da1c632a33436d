"""Figures of finished runs, from files that a run leaves behind, and the rows of the tables."""

import json

import pytest

from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.worlds import get_world
from hilight_jax.core.errors import ConfigError
from hilight_jax.experiments.ablations import TABLES, loss_figures
from hilight_jax.stages.load_config import load_config


def test_a_run_keeps_its_losses_and_the_cosines_of_layers_that_both_losses_reach(tmp_path):
    records = [{"step": step, "nce": 6.0 - step / 10, "loss": 9.0, "within_clip": 2.0} for step in range(1, 21)]
    for step, cosine in ((10, 0.2), (20, -0.123456)):
        layers = {"vision/block 1/cosine": cosine, "vision/block 1/ratio": 3.0, "text/block 1/cosine": 0.0}
        records.append({"step": step, **{f"gradients/{name}": value for name, value in layers.items()}})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = loss_figures(tmp_path)
    assert found["train"] == {"nce": pytest.approx(6.0 - 1.95), "within_clip": 2.0}, (
        "the mean of the last two of twenty"
    )
    assert found["cosine"] == {"vision/block 1": pytest.approx((0.2 - 0.1235) / 2)}
    curves = found["curves"]
    assert set(curves) == {"nce", "within_clip", "gradients/vision/block 1/cosine", "gradients/text/block 1/cosine"}
    assert curves["gradients/vision/block 1/cosine"] == [(10, 0.2), (20, -0.1235)]


def test_gradients_are_compared_after_every_eighth_of_the_steps():
    config = load_config("configs/encoder.py:demo,gradients=on")
    assert config.compare_gradients and config.eval_every == 44 == -(-config.steps // 8)
    assert not load_config("configs/encoder.py:demo,gradients=off").compare_gradients
    with pytest.raises(ConfigError, match="gradients=maybe is not one of on, off"):
        load_config("configs/encoder.py:demo,gradients=maybe")


def test_the_medium_size_reads_its_own_world():
    for argument in TABLES["medium"].rows.values():
        config = load_config(f"configs/encoder.py:{argument}")
        world = get_world(config.data.train.split("/")[1])
        assert (world.height, world.num_frames) == (config.data.image_size, config.data.num_frames) == (112, 8)
        assert config.model.vision.num_frames == 8 and config.model.vision.image_size == 112


def test_its_clips_are_those_of_the_demo_in_more_and_larger_frames():
    small, large = (make_clip(get_world(name), "train", 3) for name in ("demo-v2", "demo-v2-112"))
    assert large.frames.shape == (8, 112, 112, 3)
    assert (small.labels["camera"], small.labels["cloth"]) == (large.labels["camera"], large.labels["cloth"])
    ball = next(iter(small.labels["objects"].keys() & large.labels["objects"].keys()))
    ratio = large.labels["objects"][ball]["radius"][0] / small.labels["objects"][ball]["radius"][0]
    assert ratio == pytest.approx(112 / 64, rel=0.01)
