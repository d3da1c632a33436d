import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hilight_jax import convert, export
from hilight_jax.core.errors import UserError
from hilight_jax.core.trees import flatten
from hilight_jax.formats.exporting.exported_model import open_run
from tests.formats.exporting import runs


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    runs.chat_run(root / "chat")
    runs.chat_run(root / "lora", runs.LORA)
    runs.chat_run(root / "single", runs.SINGLE)
    runs.chat_run(root / "tracked", runs.TRACKED, _loud)
    runs.encoder_run(root / "encoder")
    return root


def _loud(params):
    """What words carry changes the answer by more than rounding does."""
    return {**params, "word_tracks": jax.tree.map(lambda x: 20 * x, params["word_tracks"])}


def exported(workdir, directory, kind, *arguments):
    assert export.main([str(workdir), "--format", kind, "--to", str(directory), *arguments]) == 0
    return json.loads((directory / "hilight_jax.json").read_text())


def leaves(workdir, merge=True):
    tree = open_run(pathlib.Path(workdir), "latest", "float32", merge).model.params
    return {path: np.asarray(x) for path, x in flatten(tree).items()}


def assert_comes_back(workdir, directory, back, merge=True):
    convert.main([str(directory), "--to", str(back)])
    before, after = leaves(workdir, merge), leaves(back, merge)
    assert set(before) == set(after)
    for path, x in before.items():
        np.testing.assert_array_equal(after[path], x, err_msg=path)


@pytest.mark.parametrize(
    ("run", "kind", "merge"),
    [
        ("chat", "hilight", True),
        ("chat", "huggingface", True),
        ("lora", "huggingface", False),
        ("single", "huggingface", True),
        ("tracked", "huggingface", True),
        ("lora", "stablehlo", True),
        ("encoder", "stablehlo", True),
        ("encoder", "encoder", True),
    ],
)
def test_every_format_comes_back_bit_for_bit(places, tmp_path, run, kind, merge):
    if kind in ("hilight", "encoder"):
        pytest.importorskip("torch")
    arguments = [] if merge else ["--lora", "keep"]
    exported(places / run, tmp_path / "out", kind, "--no_fingerprint", *arguments)
    assert_comes_back(places / run, tmp_path / "out", tmp_path / "back", merge)


def test_half_precision_comes_back_as_it_was(places, tmp_path):
    exported(places / "single", tmp_path / "out", "stablehlo", "--dtype", "bfloat16", "--no_fingerprint")
    convert.main([str(tmp_path / "out"), "--to", str(tmp_path / "back")])
    exported(tmp_path / "back", tmp_path / "again", "stablehlo", "--dtype", "bfloat16", "--no_fingerprint")
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("out", "again"))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("run", ["single", "encoder"])
def test_verify_runs_the_export_and_finds_a_changed_weight(places, tmp_path, capsys, run):
    record = exported(places / run, tmp_path / "out", "stablehlo")
    assert record["fingerprint"]
    assert export.main(["--verify", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["same"] and max(result["deviations"].values()) <= 1e-4
    weights = load_file(tmp_path / "out" / "weights.safetensors")
    name = next(name for name in weights if name.endswith("patch_embedding/kernel"))
    save_file(weights | {name: weights[name] * 1.5}, tmp_path / "out" / "weights.safetensors")
    assert export.main(["--verify", str(tmp_path / "out")]) == export.DIFFERS


def test_the_original_layout_is_verified_by_reading_it_again(places, tmp_path):
    pytest.importorskip("torch")
    exported(places / "chat", tmp_path / "out", "hilight")
    assert export.main(["--verify", str(tmp_path / "out")]) == 0


@pytest.mark.slow
def test_verify_asks_a_question_whose_words_carry_something(places, tmp_path, capsys):
    record = exported(places / "tracked", tmp_path / "out", "stablehlo")
    assert record["data"]["things"] == list(runs.THINGS)
    assert "word tracks" in (tmp_path / "out" / "README.md").read_text()
    path = tmp_path / "out" / "words.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"most_phrases": 0}))
    capsys.readouterr()
    assert export.main(["--verify", str(tmp_path / "out"), "--json"]) == export.DIFFERS
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["changed"] == ["words.json"]
    assert result["deviations"]["video_tokens"] <= 1e-4 < result["deviations"]["logits"]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize(
    ("run", "kind", "arguments"),
    [
        ("tracked", "huggingface", []),
        ("tracked", "huggingface", ["--quantize", "int8"]),
        ("tracked", "huggingface", ["--dtype", "bfloat16"]),
        ("lora", "huggingface", []),
        ("lora", "huggingface", ["--lora", "keep"]),
        ("single", "huggingface", ["--quantize", "int8"]),
        ("single", "huggingface", ["--dtype", "bfloat16"]),
        ("lora", "stablehlo", ["--quantize", "int8"]),
        ("encoder", "encoder", []),
    ],
)
def test_verify_on_torch(places, tmp_path, run, kind, arguments):
    pytest.importorskip("transformers")
    exported(places / run, tmp_path / "out", kind, *arguments)
    assert export.main(["--verify", str(tmp_path / "out")]) == 0


def test_the_card_tells_origin_figures_and_limits(places, tmp_path):
    record = exported(places / "lora", tmp_path / "out", "stablehlo", "--no_fingerprint")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "converted from a test's" in card
    assert "LoRA's deltas are merged" in card
    assert "## Limits" in card and "billiards clips" in card
    assert f"{record['parameters']:,} parameters" in card
    assert str(pathlib.Path.home()) not in card


def test_int8_prints_what_it_cost(places, tmp_path, capsys):
    record = exported(places / "chat", tmp_path / "out", "stablehlo", "--no_fingerprint", "--quantize", "int8")
    assert 0 < record["quantization_error"]["mean"] <= record["quantization_error"]["worst"] < 0.02
    assert "8 bits cost" in capsys.readouterr().err
    with pytest.raises(UserError, match="was exported with --quantize int8, which loses what the weights were"):
        convert.main([str(tmp_path / "out"), "--to", str(tmp_path / "back")])
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("run", "arguments", "sentence"),
    [
        ("single", ["--format", "hilight"], "looks at key frames through its video tower, but the original always has"),
        (
            "tracked",
            ["--format", "hilight"],
            "has word tracks, for which the original's code has no place; use --format",
        ),
        ("encoder", ["--format", "huggingface"], "is for chat models, and this is a run of the encoder"),
        ("chat", ["--format", "hilight", "--quantize", "int8"], "has no place in --format hilight"),
        ("lora", ["--format", "stablehlo", "--lora", "keep"], "--lora keep has no place in --format stablehlo"),
        ("nowhere", ["--format", "stablehlo"], "is not a working directory"),
        ("chat", [], "--format is missing"),
        ("chat", ["--format", "stablehlo", "--verify", "x"], "--verify takes an exported directory alone"),
    ],
)
def test_what_a_format_has_no_place_for_is_one_sentence(places, tmp_path, run, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        export.main([str(places / run), "--to", str(tmp_path / "out"), *arguments])
    assert not list(tmp_path.iterdir())


def test_an_existing_destination_is_untouched(places, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        export.main([str(places / "chat"), "--format", "stablehlo", "--to", str(tmp_path / "out")])
    assert not list((tmp_path / "out").iterdir())


def test_verify_of_what_is_no_export_says_so(tmp_path):
    with pytest.raises(UserError, match="is no export of this package"):
        export.main(["--verify", str(tmp_path)])


def test_a_part_that_changed_since_is_found_while_it_is_exported(places, tmp_path):
    from hilight_jax.runs.provenance import PROVENANCE, fingerprint, lazy_part

    tower, _ = lazy_part(places / "chat", "vision")
    provenance = {"vision": {"workdir": str(places / "chat"), "step": 0, "fingerprint": fingerprint(tower)}}
    (tmp_path / "good").mkdir()
    for name in os.listdir(places / "chat"):
        os.symlink(places / "chat" / name, tmp_path / "good" / name)
    (tmp_path / "good" / PROVENANCE).write_text(json.dumps(provenance))
    tree, check = lazy_part(tmp_path / "good", "vision")
    check()
    provenance["vision"]["fingerprint"] = "0" * 32
    (tmp_path / "good" / PROVENANCE).write_text(json.dumps(provenance))
    tree, check = lazy_part(tmp_path / "good", "vision")
    with pytest.raises(UserError, match="whose values have changed since"):
        check()


@pytest.mark.slow
def test_an_export_that_is_killed_leaves_nothing_that_looks_finished(places, tmp_path):
    program = (
        "import os, sys\n"
        "from hilight_jax import export\n"
        "from hilight_jax.core import lazy\n"
        "real, left = lazy.LazyArray.read, [30]\n"
        "def read(self):\n"
        "    left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), 9)\n"
        "    return real(self)\n"
        "lazy.LazyArray.read = read\n"
        "export.main(sys.argv[1:])\n"
    )
    arguments = [str(places / "chat"), "--format", "stablehlo", "--to", str(tmp_path / "out"), "--no_fingerprint"]
    ran = subprocess.run([sys.executable, "-c", program, *arguments], cwd=pathlib.Path(__file__).parents[1])
    assert ran.returncode == -9
    assert not (tmp_path / "out").exists()
