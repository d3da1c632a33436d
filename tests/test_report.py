"""The command: metrics, evaluations and example clips of a run become one page."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from hilight_jax import report
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import CheckpointError, DataError, UserError
from hilight_jax.evals.known_answers import count_answers
from hilight_jax.evals.video_qa import evaluate_video_qa
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.stages import trained_chat, trained_encoder
from hilight_jax.stages.load_config import load_config
from tests.evals.coloured_discs import ColouredDiscs, ColourEncoder
from tests.evals.coloured_screens import DATA, ColouredScreens, ColourSpeaker


def test_it_writes_the_page_with_examples(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trained_encoder, "load_encoder", lambda workdir, which: ColourEncoder())
    monkeypatch.setattr(trained_encoder, "open_source", lambda specification: ColouredDiscs())
    records = [{"step": step, "loss": 5.0 / step, "learning_rate": 1e-4} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert report.main([str(tmp_path), "--data", "discs", "--num_clips", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == {"page": str(tmp_path / "report" / "index.html"), "examples": 2}
    html = (tmp_path / "report" / "index.html").read_text()
    assert html.count(".gif") == 2 and "loss 2.5" in html and "Checkpoint: step 40, latest." in html


def test_a_broken_table_of_controls_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(trained_encoder, "load_encoder", lambda workdir, which: ColourEncoder())
    monkeypatch.setattr(trained_encoder, "open_source", lambda specification: ColouredDiscs())
    arguments = [str(tmp_path), "--data", "discs", "--num_clips", "1", "--controls", str(tmp_path / "controls.json")]
    assert report.main(arguments) == 0  # There is no such table, so the page has none.
    (tmp_path / "controls.json").write_text("[1, 2")
    with pytest.raises(DataError, match="controls.json is not JSON"):
        report.main(arguments)
    (tmp_path / "controls.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="holds no JSON object"):
        report.main(arguments)


def test_overrides_give_the_runs_configuration_again(tmp_path):
    init = ["--config.init_from.workdir=runs/a", "--config.init_from.which=latest"]
    given = ["--config.seed=3", "--config.name=12", "--config.data.train=manifest:my clips.jsonl", *init]
    given[1] = "--config.name='12'"
    config = load_config("configs/encoder.py:demo", [*given, "--config.freeze=['text']", "--config.mesh.fsdp=1"])
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    found = report.overrides(tmp_path)
    assert set(given[:3]) < set(found) and len(found) == 5
    assert load_config("configs/encoder.py:demo", found) == config


def test_the_overrides_of_a_config_file_of_ones_own_are_not_known(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"preset": "mine"}))
    assert report.overrides(tmp_path) is None


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The source of a chat run that was evaluated, which lies in tmp_path."""
    screens = ColouredScreens(("red", "green"))
    monkeypatch.setattr(trained_chat, "read_config_as", lambda config, workdir: SimpleNamespace(data=DATA))
    (tmp_path / "tokenizer.model").write_bytes(Path(DATA.tokenizer).read_bytes())
    (tmp_path / "config.json").write_text('{"stage": "align"}')
    known = count_answers(screens)
    result = evaluate_video_qa(ColourSpeaker(), SamplingConfig(), screens, DATA, known)
    lines = "".join(json.dumps(answer) + "\n" for answer in result.pop("answers"))
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "validation.answers.jsonl").write_text(lines)
    origin = {"name": "validation", "split": "validation", "step": 3, "which": "best", "source": screens.name}
    result |= {**origin, "command": "python", "answers_file": "validation.answers.jsonl"}
    (tmp_path / "evaluations" / "validation.json").write_text(json.dumps(result))
    return screens


def test_a_chat_run_shows_the_answers_of_its_evaluation(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trained_chat, "open_conversations", lambda specification: asked)
    monkeypatch.setattr(trained_chat, "is_missing", lambda specification: False)
    assert report.main([str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["examples"] == 2
    html = (tmp_path / "report" / "index.html").read_text()
    assert html.count(".gif") == 2 and "the green" in html and "Checkpoint: step 3, best." in html
    with pytest.raises(UserError, match="no evaluation of questions:other"):
        report.main([str(tmp_path), "--data", "questions:other"])


def test_a_chat_page_does_without_clips_that_are_gone(asked, tmp_path, capsys):
    assert report.main([str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["examples"] == 0
    with pytest.raises(DataError, match="no stored dataset at 'screens'"):
        report.main([str(tmp_path), "--data", asked.name])


def test_a_stage_without_a_page_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"stage": "long_clip"}')
    with pytest.raises(CheckpointError, match="the stage 'long_clip', which has no page"):
        report.main([str(tmp_path)])
