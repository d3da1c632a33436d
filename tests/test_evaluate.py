"""The command on the world of coloured discs."""

import json
from types import SimpleNamespace

import pytest

from hilight_jax import evaluate
from hilight_jax.core.errors import UserError
from hilight_jax.evaluate import check_names, result_name, source_name, specifications, write_result
from hilight_jax.pages.report import read_evaluations
from hilight_jax.stages import encoder_evaluator
from tests.evals.coloured_discs import ColouredDiscs, ColourEncoder


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(encoder_evaluator, "load_encoder", lambda workdir, which: ColourEncoder())
    monkeypatch.setattr(encoder_evaluator, "open_source", lambda specification: ColouredDiscs())

    def call(*arguments):
        assert evaluate.main(["--checkpoint", str(tmp_path), *arguments]) == 0
        return capsys.readouterr().out

    return call


def test_it_prints_tables_and_writes_the_result(run, tmp_path):
    out = run("--data", "tfds:data/discs/1.0.0/validation")
    assert "text to video, plain" in out and "text to video, dsl_both_ways" in out
    ball, *_ = [line.split() for line in out.splitlines() if line.startswith("ball")]
    assert ball[1:4] == ["1.000", "0.062", "0.583"]
    written = json.loads((tmp_path / "evaluations" / "validation.json").read_text())
    assert written["step"] == 40 and written["which"] == "latest" and written["map_levels"] == ["embedding"]
    assert "checkpoint: step 40, latest" in out
    assert written["source"] == "tfds:data/discs/1.0.0/validation" and written["clips"] == 7
    assert f"--checkpoint {tmp_path} --which latest --data tfds:data/discs/1.0.0/validation" in written["command"]


def test_a_result_of_another_world_does_not_take_the_name_of_the_runs_own(run, tmp_path):
    run("--data", "tfds:data/other/1.0.0/validation", "--num_clips", "5")
    assert (tmp_path / "evaluations" / "other-validation-first-5.json").exists()
    run("--data", "tfds:elsewhere/discs/1.0.0/validation", "--num_clips", "5")
    assert (tmp_path / "evaluations" / "validation-first-5.json").exists()


def test_json_is_the_last_line(run):
    out = run("--data", "clips.jsonl", "--name", "mine", "--json", "--num_clips", "5")
    assert json.loads(out.splitlines()[-1])["mine"]["clips"] == 5


def test_each_level_is_shown_where_several_are_tapped(run, monkeypatch):
    monkeypatch.setattr(encoder_evaluator, "load_encoder", lambda workdir, which: ColourEncoder(levels=2))
    lines = [line.split() for line in run("--data", "clips.jsonl").splitlines()]
    assert ["embedding", "1.000", "0.062", "0.583"] in lines and ["last", "0.062", "0.062", "0.583"] in lines


def test_words_stand_below_the_plain_figures_and_their_options_in_the_command(run, tmp_path):
    out = run("--data", "clips.jsonl", "--word_weight", "0.25", "--shortlist", "5")
    lines = out.splitlines()
    plain, words = (
        next(i for i, x in enumerate(lines) if x.startswith(f"text to video, {w}")) for w in ("plain", "words")
    )
    assert words == plain + 2 and lines[words].split()[4] == "1.000"
    written = json.loads((tmp_path / "evaluations" / "clips-word-weight-0.25-shortlist-5.json").read_text())
    assert (written["retrieval"]["word_weight"], written["retrieval"]["shortlist"]) == (0.25, 5)
    assert written["command"].endswith("--word_weight 0.25 --shortlist 5")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--batch_size", "3"], "validation"),
        (["--which", "best"], "validation-best"),
        (["--similarity", "dot", "--num_clips", "5"], "validation-first-5-similarity-dot"),
        (["--word_weight", "0"], "validation-word-weight-0.0"),
        (["--which", "best", "--name", "mine"], "mine"),
    ],
)
def test_other_figures_never_replace_those_of_the_split(run, tmp_path, options, name):
    run("--data", "tfds:data/discs/1.0.0/validation", *options)
    (path,) = (tmp_path / "evaluations").glob("*.json")
    written = json.loads(path.read_text())
    assert path.stem == written["name"] == name and written["split"] == "validation"


def test_a_weight_of_nothing_is_in_the_command(run, tmp_path):
    run("--data", "clips.jsonl", "--word_weight", "0", "--name", "mine")
    assert "--word_weight 0.0" in json.loads((tmp_path / "evaluations" / "mine.json").read_text())["command"]


def test_the_result_of_a_whole_split_comes_first(tmp_path):
    (tmp_path / "evaluations").mkdir()
    for name, split in (("a", "unseen"), ("quick", "validation"), ("unseen", "unseen"), ("validation", "validation")):
        write_result(tmp_path, {"name": name, "split": split})
    names = [result["name"] for result in read_evaluations(tmp_path)]
    assert names == ["validation", "quick", "unseen", "a"]


@pytest.mark.parametrize("option", ["--word_weight=-1", "--word_weight=nan", "--word_weight=inf", "--shortlist=0"])
def test_weights_and_shortlists_that_mean_nothing_are_refused(run, option):
    with pytest.raises(UserError, match="at least"):
        run(option)


def test_what_was_left_out_says_why(run, monkeypatch):
    monkeypatch.setattr(encoder_evaluator, "open_source", lambda specification: ColouredDiscs(broken=[2]))
    assert "left out: 1 clips (discs/2: not decodable: " in run("--data", "clips.jsonl")


@pytest.mark.parametrize("option", ["--ask=2", "--history", "--no_controls", "--max_new_tokens=8"])
def test_options_of_a_chat_model_are_refused(run, option):
    with pytest.raises(UserError, match=f"{option.partition('=')[0]} would have no effect on an encoder; leave it out"):
        run(option)


@pytest.mark.parametrize("name", ["a/b", "/tmp/a", "a/"])
def test_a_name_is_no_path(name):
    with pytest.raises(UserError, match=f"--name is '{name}', but must be the name of a file"):
        evaluate.main(["--checkpoint", "runs/x", "--name", name])


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(UserError, match="--batch_size is 0"):
        evaluate.main(["--checkpoint", "runs/x", "--batch_size", "0"])


def test_results_never_overwrite_each_other():
    names = {"tfds:a/1/validation": "validation", "tfds:a/1/unseen": "unseen"}
    check_names(names, None)
    check_names({"tfds:a/1/validation": "validation"}, "mine")
    with pytest.raises(UserError, match="--name mine would give tfds:a/1/validation and tfds:a/1/unseen one file"):
        check_names(names, "mine")
    with pytest.raises(UserError, match="would both be called test"):
        check_names({"tfds:a/1/test": "test", "manifest:test.jsonl": "test"}, None)


def test_sources_come_from_the_run_unless_named():
    data = SimpleNamespace(validation="tfds:data/w/1/validation", unseen="tfds:data/w/1/unseen")
    config = SimpleNamespace(data=data)
    assert specifications(config, None, None) == [data.validation, data.unseen]
    assert specifications(config, None, "train") == ["tfds:data/w/1/train"]
    assert specifications(config, "tfds:data/w/1/", "unseen") == ["tfds:data/w/1/unseen"]
    assert specifications(config, "questions:data/w/1,turns=2", "unseen") == ["questions:data/w/1/unseen,turns=2"]
    assert specifications(config, "a.jsonl", None) == ["a.jsonl"]
    config.data.validation = "questions:data/w/1/validation,two_clips=0.1/2"
    assert specifications(config, None, "train") == ["questions:data/w/1/train,two_clips=0.1/2"]


def test_a_run_without_held_out_clips_needs_a_source():
    config = SimpleNamespace(data=SimpleNamespace(validation="", unseen=""))
    with pytest.raises(UserError, match="--data"):
        specifications(config, None, None)


@pytest.mark.parametrize(
    ("specification", "name"),
    [
        ("tfds:data/w/1.0.0/unseen", "unseen"),
        ("manifest:my/clips.jsonl", "clips"),
        ("msrvtt:MSRVTT_data.json,videos=v,split=test", "MSRVTT_data"),
    ],
)
def test_results_are_named_after_their_source(specification, name):
    assert source_name(specification) == name


@pytest.mark.parametrize(
    ("own", "specification", "name"),
    [
        ("tfds:data/demo-v2/1.0.0/validation", "questions:else/demo-v2/1.0.0/validation,two_clips=0.1", "validation"),
        ("tfds:data/demo-v2/1.0.0/validation", "tfds:data/demo-v1/1.0.0/validation", "demo-v1-validation"),
        ("tfds:data/demo-v2/1.0.0/validation", "tfds:data/demo-v1/1.0.0/train", "demo-v1-train"),
        ("tfds:data/demo-v2/1.0.0/validation", "manifest:mine/validation.jsonl", "mine-validation"),
        ("tfds:data/demo-v2/1.0.0/validation", "tfds:data/demo-v2/2.0.0/validation", "demo-v2-2.0.0-validation"),
        ("tfds:data/demo-v2/1.0.0/validation", "manifest:/clips/mine/../validation.jsonl", "clips-validation"),
        ("tfds:data/demo-v2/1.0.0/validation", "manifest:mine/shots.jsonl", "shots"),
        ("manifest:mine/validation.jsonl", "tfds:data/demo-v1/1.0.0/validation", "demo-v1-validation"),
        ("manifest:mine/validation.jsonl", "manifest:mine/validation.jsonl", "validation"),
        ("", "tfds:data/demo-v1/1.0.0/validation", "validation"),
    ],
)
def test_a_result_has_the_name_of_its_world_where_the_run_has_another(own, specification, name):
    assert result_name(specification, SimpleNamespace(validation=own, unseen="")) == name


def test_a_file_of_the_current_folder_does_not_take_the_name_of_the_runs_own_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = SimpleNamespace(validation="tfds:data/demo-v2/1.0.0/validation", unseen="")
    assert result_name("manifest:validation.jsonl", data) == f"{tmp_path.name}-validation"
