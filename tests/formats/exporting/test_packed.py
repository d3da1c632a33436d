"""A packed model is the model that it was made from: the same answers, places and embeddings, its figures with it."""

import json
import shutil

import numpy as np
import pytest

import hilight_jax
from hilight_jax import export, visualize
from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.cache import CACHE
from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.formats.exporting import packed
from hilight_jax.formats.exporting.verification import verify
from hilight_jax.runs.workdir import read_stage
from tests.serving.workdirs import make_chat_model, make_encoder, write_video

TURNS = [{"role": "user", "text": "Is the red ball there?"}]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    run = make_chat_model(root / "align", make_encoder(root / "encoder"))
    (run / "evaluations").mkdir()
    result = {"name": "v", "split": "validation", "step": 1, "answers_file": "v.answers.jsonl"}
    (run / "evaluations" / "v.json").write_text(json.dumps(result | {"calibration": {"temperature": 1.5}}))
    places = {"grounding": {"places": {"threshold": 0.125}}}
    (root / "encoder" / "evaluations").mkdir()
    (root / "encoder" / "evaluations" / "v.json").write_text(json.dumps(result | places))
    write_object(run / "ancestry.json", {"made_by": "train", "stage": "align", "preset": "demo"})
    write_video(root / "a.mp4")
    return root


@pytest.fixture(scope="module")
def made(root):
    """The packed model in float32."""
    assert export.main([str(root / "align"), "--format", "packed", "--to", str(root / "packed")]) == 0
    return root / "packed"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv(CACHE, str(place))
    return place


def test_it_answers_finds_and_embeds_as_the_run(root, made):
    run, other = hilight_jax.load(root / "align"), hilight_jax.load(made)
    replies = []
    for model in (run, other):
        dialogue = model.dialogue(max_new_tokens=6)
        dialogue.show(root / "a.mp4")
        replies.append(dialogue.ask("Is the red ball there?"))
    assert replies[0].text == replies[1].text
    np.testing.assert_array_equal(replies[0].log_probs, replies[1].log_probs)
    places = [model.locate(root / "a.mp4", "the red ball") for model in (run, other)]
    np.testing.assert_array_equal(places[0].x, places[1].x)
    np.testing.assert_array_equal(run.encode_text("a red ball"), other.encode_text("a red ball"))
    np.testing.assert_array_equal(run.encode_video(root / "a.mp4"), other.encode_video(root / "a.mp4"))


def test_what_evaluations_fitted_goes_with_it(made, cache):
    model = hilight_jax.load(made)
    assert model.confidence_temperature == 1.5
    place = packed.find_run(made).parent
    assert place.parent == cache
    result = json.loads((place / "encoder" / "evaluations" / "v.json").read_text())
    assert result["grounding"]["places"]["threshold"] == 0.125 and "answers_file" not in result


def test_a_cache_behind_a_link_holds_whole_runs(made, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.setenv(CACHE, str(tmp_path / "link"))
    for _ in range(2):
        assert hilight_jax.load(made).encode_text("a red ball").shape == (16,)


def test_its_ancestry_goes_with_it(root, made, tmp_path):
    record = json.loads((made / "hilight_jax.json").read_text())
    kept = json.loads((packed.find_run(made) / "ancestry.json").read_text())
    assert kept == record["ancestry"] and kept["stage"] == "align"


def test_it_is_unpacked_once_and_again_when_its_weights_change(made, tmp_path, cache):
    first = packed.find_run(made)
    (first / "mark").touch()
    assert (packed.find_run(made) / "mark").exists()
    changed = shutil.copytree(made, tmp_path / "packed")
    (changed / "weights.safetensors").write_bytes((made / "weights.safetensors").read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        packed.find_run(changed)
    assert not [place for place in cache.iterdir() if "partial" in place.name]


def test_8_bits_are_smaller_and_verify_within_their_rounding(root, made, tmp_path):
    small = tmp_path / "small"
    export.main(
        [str(root / "align"), "--format", "packed", "--dtype", "float16", "--quantize", "int8", "--to", str(small)]
    )
    sizes = [(place / "weights.safetensors").stat().st_size for place in (small, made)]
    assert sizes[0] < 0.35 * sizes[1]
    found = verify(small)
    assert found["same"], found
    assert verify(made)["deviations"]["logits"] < 1e-4


def test_commands_take_it_as_a_run(root, made, tmp_path):
    out = tmp_path / "page"
    arguments = ["--checkpoint", str(made), "--video", str(root / "a.mp4"), "--text", "the red ball", "--out", str(out)]
    assert visualize.main(arguments) == 0 and (out / "index.html").is_file()
    assert export.main([str(made), "--format", "packed", "--to", str(tmp_path / "again")]) == 0
    again, first = (packed.find_run(place) for place in (tmp_path / "again", made))
    assert again.name == first.name == "chat"


def test_what_cannot_be_packed_or_unpacked_is_one_sentence(root, made, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--format packed is for chat models"):
        export.main([str(root / "encoder"), "--format", "packed", "--to", str(tmp_path / "e")])
    monkeypatch.setenv(CACHE, str(root / "a.mp4"))
    with pytest.raises(CheckpointError, match="environment variable HILIGHT_CACHE"):
        packed.find_run(made)
    with pytest.raises(CheckpointError, match="no-such-model' is not a working directory"):
        hilight_jax.load("no-such-model")
    damaged = shutil.copytree(made, tmp_path / "damaged")
    (damaged / "runs.json").write_text("{}")
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match="lacks one of its two runs"):
        packed.find_run(damaged)


def test_its_encoder_is_a_run_too(made, tmp_path, cache):
    chat, encoder = packed.find_run(made), packed.find_run(made / "encoder")
    assert (chat.name, encoder.name) == ("chat", "encoder") and chat.parent == encoder.parent
    assert read_stage(encoder) == "encoder"
    # Of a folder that holds no packed model the path stays what it is.
    assert packed.find_run(tmp_path / "encoder") == tmp_path / "encoder"
