import json

import pytest

from hilight_jax import benchmark
from hilight_jax.benchmarks import chat_speed as speed_of_chat
from hilight_jax.benchmarks import train_step
from hilight_jax.core.errors import UserError
from hilight_jax.stages.encoder_flops import train_step_flops
from hilight_jax.stages.load_config import load_config
from tests.stages.tiny import SMALL

CONFIG = "configs/encoder.py:demo,setting=2"


def test_the_last_line_is_json_with_the_promised_figures(capsys, monkeypatch):
    monkeypatch.setattr(train_step, "SQUARE", {"cpu": 64})
    monkeypatch.setattr(train_step, "SECONDS_PER_ROUND", 0.0)
    benchmark.main(["encoder", "--config", CONFIG, "--batch_size", "8", "--steps", "3", "--json", *SMALL])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["model_flops"] == train_step_flops(load_config(CONFIG, [*SMALL, "--config.batch_size=8"]))
    assert result["clips_per_second"] == pytest.approx(8 / result["step_seconds"])
    assert result["model_flops_per_second"] == pytest.approx(result["model_flops"] / result["step_seconds"])
    assert result["fraction_of_peak"] == pytest.approx(
        result["model_flops_per_second"] / result["matmul_peak_flops_per_second"]
    )
    assert result["peak_memory_bytes"] > 1e8 and result["dtype"] == "float32"


def test_the_flops_of_a_step_are_three_forward_passes_of_every_clip():
    one, four = (load_config(CONFIG, [f"--config.batch_size={size}"]) for size in (1, 4))
    assert train_step_flops(four) == 4 * train_step_flops(one)
    without = load_config("configs/encoder.py:demo,setting=0", ["--config.batch_size=1"])
    # Setting 2 adds one linear head on 4 x 64 patches and one on 48 tokens, 128 wide on both sides.
    assert train_step_flops(one) - train_step_flops(without) == 3 * 2 * (4 * 64 + 48) * 128 * 128


@pytest.mark.parametrize(("preset", "world"), [("demo", "demo-v1"), ("b32", "table-v1"), ("b16", "table-v1")])
def test_the_world_is_the_one_of_the_config_or_of_its_size(preset, world):
    assert benchmark.world_of(load_config(f"configs/encoder.py:{preset}")).name == world


def test_a_size_that_no_world_has_is_one_sentence():
    config = load_config("configs/encoder.py:b32", ["--config.data.num_frames=7"])
    with pytest.raises(
        UserError, match=r"no billiards world has clips of 7 frames of 224 pixels; name one with --world"
    ):
        benchmark.world_of(config)


def test_a_batch_of_no_clips_is_one_sentence():
    with pytest.raises(UserError, match="--batch_size is 0; give a whole number of at least 1"):
        benchmark.main(["encoder", "--config", CONFIG, "--batch_size", "0"])


def test_a_chat_is_measured_at_the_config_s_size(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(speed_of_chat, "measure", lambda *sizes: seen.append(sizes) or {"tokens_per_second": 2.0})
    benchmark.main(["chat", "--config", "configs/align.py:2b", "--words", "30", "--new_tokens", "8", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["tokens_per_second"] == 2.0
    assert seen == [(load_config("configs/align.py:2b").model, 12, 12, 30, 8, 3)]


def test_an_encoder_that_shall_chat_is_one_sentence():
    with pytest.raises(UserError, match="is a config of the stage 'encoder', which cannot chat; name one of align or"):
        benchmark.main(["chat", "--config", CONFIG])


def test_an_answer_of_one_token_has_no_speed():
    with pytest.raises(UserError, match="--new_tokens is 1, but must be at least 2"):
        benchmark.main(["chat", "--config", "configs/align.py:2b", "--new_tokens", "1"])


@pytest.mark.slow
def test_the_data_figures_are_rates(tmp_path, capsys):
    sizes = ["--clips", "4", "--batch_size", "2", "--data_dir", str(tmp_path / "data")]
    benchmark.main(["data", "--config", "configs/encoder.py:demo", *sizes, "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    rates = [result[f"{what}_clips_per_second"] for what in ("generation", "decode", "pipeline")]
    assert all(rate > 0 for rate in rates) and result["world"] == "demo-v1"
    assert list((tmp_path / "data").iterdir()) == []  # The clips lay there and are gone.
