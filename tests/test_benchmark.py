import json

import numpy as np
import pytest

from hilight_jax import benchmark
from hilight_jax.benchmarks import machine, train_step
from hilight_jax.benchmarks.data_speed import world_of
from hilight_jax.core.errors import UserError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.stages.encoder import EncoderObjective
from hilight_jax.stages.flops import chat_step_flops, encoder_step_flops
from hilight_jax.stages.load_config import load_config
from hilight_jax.training.trainer import Trainer
from tests.stages import tiny_chat
from tests.stages.tiny import SMALL

CONFIG = "configs/encoder.py:demo,setting=2"
CHAT = "configs/align.py:demo,frames=long_clip"


def test_the_last_line_is_json_with_the_promised_figures(capsys, monkeypatch):
    monkeypatch.setattr(machine, "SQUARE", {"cpu": 64})
    monkeypatch.setattr(train_step, "SECONDS_PER_ROUND", 0.0)
    benchmark.main(["encoder", "--config", CONFIG, "--batch_size", "8", "--steps", "3", "--json", *SMALL])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["model_flops"] == encoder_step_flops(load_config(CONFIG, [*SMALL, "--config.batch_size=8"]))
    assert result["clips_per_second"] == pytest.approx(8 / result["step_seconds"])
    assert result["model_flops_per_second"] == pytest.approx(result["model_flops"] / result["step_seconds"])
    assert result["fraction_of_peak"] == pytest.approx(
        result["model_flops_per_second"] / result["matmul_peak_flops_per_second"]
    )
    assert result["peak_memory_bytes"] > 1e8 and result["dtype"] == "float32"


def test_one_token_in_eight_is_a_query_of_the_local_loss():
    config = load_config(CONFIG, SMALL)
    mesh = make_mesh(config.mesh)
    batch = train_step._random_batch(Trainer(config, EncoderObjective(config, mesh), mesh))
    assert np.flatnonzero(batch["local_mask"][3]).tolist() == [0, 8, 16, 24, 32, 40]
    assert batch["text_mask"].all() and batch["video"].std() > 50


def test_a_search_is_measured_without_a_config(capsys, tmp_path):
    words = ["--vectors", "600", "--width", "16", "--queries", "5", "--top", "3", "--place", str(tmp_path / "place")]
    benchmark.main(["search", *words, "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["vectors"] == 600 and result["recall at 3 against the exact search"] == 1
    assert result["milliseconds"]["median"] > 0 and not list((tmp_path / "place").iterdir())
    with pytest.raises(UserError, match="--vectors is 0"):
        benchmark.main(["search", "--vectors", "0"])


def test_a_step_of_a_chat_stage_is_measured_too(capsys, monkeypatch):
    monkeypatch.setattr(machine, "SQUARE", {"cpu": 64})
    monkeypatch.setattr(train_step, "SECONDS_PER_ROUND", 0.0)
    benchmark.main(["chat_step", "--config", CHAT, "--batch_size", "8", "--steps", "3", "--json", *tiny_chat.SMALL])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["model_flops"] == chat_step_flops(load_config(CHAT, tiny_chat.SMALL))
    assert result["conversations_per_second"] == pytest.approx(8 / result["step_seconds"])


def test_the_flops_of_a_step_are_three_forward_passes_of_every_clip():
    one, four = (load_config(CONFIG, [f"--config.batch_size={size}"]) for size in (1, 4))
    assert encoder_step_flops(four) == 4 * encoder_step_flops(one)
    without = load_config("configs/encoder.py:demo,setting=0", ["--config.batch_size=1"])
    # Setting 2 adds one linear head on 6 x 64 patches and one on 48 tokens, 128 wide on both sides.
    assert encoder_step_flops(one) - encoder_step_flops(without) == 3 * 2 * (6 * 64 + 48) * 128 * 128


@pytest.mark.parametrize(("preset", "world"), [("demo", "demo-v2"), ("b32", "table-v1"), ("b16", "table-v1")])
def test_the_world_is_the_one_of_the_config_or_of_its_size(preset, world):
    assert world_of(load_config(f"configs/encoder.py:{preset}")).name == world


def test_a_size_that_no_world_has_is_one_sentence():
    config = load_config("configs/encoder.py:b32", ["--config.data.num_frames=7"])
    with pytest.raises(
        UserError, match=r"no billiards world has clips of 7 frames of 224 pixels; name one with --world"
    ):
        world_of(config)


def test_a_batch_of_no_clips_is_one_sentence():
    with pytest.raises(UserError, match="--batch_size is 0; give a whole number of at least 1"):
        benchmark.main(["encoder", "--config", CONFIG, "--batch_size", "0"])


def test_a_chat_is_measured_at_the_config_s_size(capsys, monkeypatch):
    seen = []

    def measure(config, **sizes):
        seen.append((config, sizes))
        return {"tokens_per_second": 2.0}

    monkeypatch.setitem(benchmark.BENCHMARKS, "chat", benchmark.BENCHMARKS["chat"]._replace(measure=measure))
    benchmark.main(["chat", "--config", "configs/align.py:2b", "--words", "30", "--new_tokens", "8", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["tokens_per_second"] == 2.0
    config = load_config("configs/align.py:2b")
    assert seen == [(config, {"words": 30, "new_tokens": 8, "rounds": 3})]
    assert (config.data.num_frames, config.data.key_frames.count) == (12, 12)


@pytest.mark.parametrize(
    ("verb", "config", "stage", "allowed"),
    [
        ("chat", CONFIG, "encoder", "align or tune, such as configs/align.py"),
        ("convert", CONFIG, "encoder", "align or tune, such as configs/align.py"),
        ("serve", CONFIG, "encoder", "align or tune, such as configs/align.py"),
        ("encoder", "configs/align.py:demo", "align", "encoder, such as configs/encoder.py"),
        ("chat_step", CONFIG, "encoder", "align or tune, such as configs/align.py"),
        ("data", "configs/align.py:demo", "align", "encoder, such as configs/encoder.py"),
    ],
)
def test_a_config_of_another_stage_is_one_sentence(verb, config, stage, allowed):
    sentence = f"is a config of the stage '{stage}', which 'benchmark {verb}' does not measure; name one of {allowed}"
    with pytest.raises(UserError, match=sentence):
        benchmark.main([verb, "--config", config])


def test_a_model_of_one_tower_is_not_converted():
    with pytest.raises(UserError, match="config.model.frames is None.* name a config with both towers"):
        benchmark.main(["convert", "--config", "configs/align.py:demo"])


def test_an_unknown_format_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="--formats names 'onnx', but may name hilight, huggingface, stablehlo"):
        benchmark.main(["convert", "--config", "configs/align.py:2b", "--place", str(tmp_path), "--formats", "onnx"])


@pytest.mark.parametrize("options", [[], ["--checkpoint", "runs/tune", "--config", "configs/align.py:demo"]])
def test_a_server_needs_either_a_run_or_a_config(options):
    with pytest.raises(UserError, match="give either --checkpoint, a trained run, or --config"):
        benchmark.main(["serve", *options])


def test_a_key_of_no_config_is_one_sentence():
    with pytest.raises(UserError, match="'--config.seed=1' is not an argument"):
        benchmark.main(["serve", "--checkpoint", "runs/tune", "--config.seed=1"])


def test_an_answer_of_one_token_has_no_speed():
    with pytest.raises(UserError, match="--new_tokens is 1, but must be at least 2"):
        benchmark.main(["chat", "--config", "configs/align.py:2b", "--new_tokens", "1"])


@pytest.mark.slow
def test_the_data_figures_are_rates(tmp_path, capsys):
    sizes = ["--clips", "4", "--batch_size", "2", "--data_dir", str(tmp_path / "data")]
    benchmark.main(["data", "--config", "configs/encoder.py:demo", *sizes, "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    rates = [result[f"{what}_clips_per_second"] for what in ("generation", "decode", "pipeline")]
    assert all(rate > 0 for rate in rates) and result["world"] == "demo-v2"
    assert list((tmp_path / "data").iterdir()) == []  # The clips lay there and are gone.
