"""The command on the world of coloured screens, and on files of answers."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from hilight_jax import evaluate
from hilight_jax.core.errors import CheckpointError, DataError, UserError
from hilight_jax.stages import trained_chat
from hilight_jax.stages.stage import PageRequest
from tests.evals.coloured_screens import DATA, ColouredScreens, ColourSpeaker
from tests.pages.test_measured_evidence import EVIDENCE

SOURCES = {
    "questions:screens/train": ColouredScreens(("red", "red", "green"), "questions:screens/train"),
    "questions:screens/validation": ColouredScreens(("red", "green", "blue", "red")),
}


def open_conversations(specification):
    if specification not in SOURCES:
        raise DataError(f"there is no {specification}.")
    return SOURCES[specification]


@pytest.fixture
def data():
    sources = {"train": "questions:screens/train", "validation": "questions:screens/validation", "unseen": ""}
    return dataclasses.replace(DATA, **sources)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, data):
    model = SimpleNamespace(config=None, params=None, tokenizer=DATA.tokenizer, data=data, step=30)
    model.run = SimpleNamespace(data=data, eval_batch_size=4)
    monkeypatch.setattr(trained_chat, "load_chat_model", lambda workdir, which: model)
    monkeypatch.setattr(trained_chat, "make_generator", lambda model: ColourSpeaker())
    monkeypatch.setattr(trained_chat, "open_conversations", open_conversations)
    (tmp_path / "config.json").write_text('{"stage": "tune"}')

    def call(*arguments):
        assert evaluate.main(["--checkpoint", str(tmp_path), *arguments]) == 0
        return capsys.readouterr().out

    call.workdir = str(tmp_path)
    return call


def test_a_chat_run_is_recognised_and_its_answers_are_scored(run, tmp_path):
    answers, _, calibration = run().partition("calibration ")
    rows, sure = (
        {line[:24].strip(): line[24:].split() for line in part.splitlines()} for part in (answers, calibration)
    )
    assert rows["colour"] == ["1.000", "0.000", "0.500", "0.500", "0.000", "0.000", "0.250", "4"]
    assert rows["is red"] == ["1.000", "0.000", "0.500", "0.500", "0.250", "0.000", "0.000", "4"]
    assert rows["mean, needs the video"] == ["1.000", "-", "0.500", "0.500", "0.125", "2", "kinds"]
    assert rows["above the control"] == ["+0.500", "+0.500", "+0.875"]
    assert sure["colour"][:2] == ["0.333", "0.004"] and sure["colour"][3:] == ["0.667", "0.996", "1.000", "1"]
    assert "temperature 0.125, fitted on 9 answers (2 clips); the figures are of 3 answers (1 clips)" in calibration
    written = json.loads((tmp_path / "evaluations" / "validation.json").read_text())
    assert written["step"] == 30 and written["source"] == "questions:screens/validation" and "answers" not in written
    assert written["command"].endswith("--which latest --data questions:screens/validation")
    lines = (tmp_path / "evaluations" / written["answers_file"]).read_text().splitlines()
    assert len(lines) == 12 and json.loads(lines[0])["answer"] == "the red"


def test_options_are_in_the_command_that_gives_the_figures_again(run, tmp_path):
    out = run("--num_clips", "2", "--no_controls", "--max_new_tokens", "8", "--json")
    result = json.loads(out.splitlines()[-1])["validation-first-2-no-controls-max-new-tokens-8"]
    assert result["command"].endswith("--num_clips 2 --no_controls --max_new_tokens 8")
    assert result["overall"]["other_clip"] is None and result["conversations"] == 2


def test_evidence_is_measured_beside_the_answers(run, tmp_path, monkeypatch):
    calls = []

    def measure(generator, sampling, source, data, per_kind, **options):
        calls.append((source.name, per_kind, options["num_conversations"]))
        return EVIDENCE

    monkeypatch.setattr(trained_chat, "evaluate_evidence", measure)
    out = run("--evidence", "--num_clips", "2")
    assert calls == [("questions:screens/validation", 100, 2)]
    assert out.index("all questions") < out.index("on balls") and "0.661       0.057" in out
    written = json.loads((tmp_path / "evaluations" / "validation-first-2.json").read_text())
    assert written["evidence"] == EVIDENCE and written["command"].endswith("--num_clips 2 --evidence 100")
    run("--name", "plain", "--evidence", "7")
    assert calls[1][1:] == (7, None)


def test_evidence_that_cannot_be_measured_is_refused_before_any_question_is_asked(run, tmp_path, monkeypatch):
    monkeypatch.setattr(trained_chat, "evaluate_video_qa", None)
    with pytest.raises(DataError, match="leave --evidence out"):
        run("--evidence")


def test_evidence_of_empty_answers_is_left_out_of_the_result(run, tmp_path, monkeypatch):
    monkeypatch.setattr(trained_chat, "evaluate_evidence", lambda *given, **options: None)
    run("--evidence")
    written = json.loads((tmp_path / "evaluations" / "validation.json").read_text())
    assert "evidence" not in written and written["questions"] == 12


def test_the_best_checkpoint_has_a_result_and_a_temperature_of_its_own(run, tmp_path):
    run("--history")
    run("--which", "best")
    run()
    found = sorted(path.stem for path in (tmp_path / "evaluations").glob("*.json"))
    assert found == ["validation", "validation-best", "validation-history"]
    best = json.loads((tmp_path / "evaluations" / "validation-best.json").read_text())
    best["step"], best["calibration"]["temperature"] = 20, 3.0
    evaluate.write_result(tmp_path, best)
    assert trained_chat.fitted_temperature(tmp_path, 20) == 3.0
    assert trained_chat.fitted_temperature(tmp_path, 30) == 0.125


def test_the_page_of_a_run_without_answers_one_by_one_has_no_clips(run, tmp_path, monkeypatch):
    """As that of a packed model."""
    run()
    path = tmp_path / "evaluations" / "validation.json"
    result = json.loads(path.read_text())
    del result["answers_file"]
    path.write_text(json.dumps(result))
    monkeypatch.setattr(trained_chat, "is_missing", lambda specification: False)
    monkeypatch.setattr(trained_chat, "read_config_as", lambda config, workdir: SimpleNamespace(data=DATA))
    page, num_clips = trained_chat.write_chat_page(tmp_path, PageRequest())
    assert num_clips == 0 and page.is_file()


def test_asking_prints_answers_beside_the_truth_and_writes_nothing(run, tmp_path):
    out = run("--ask", "2", "--json")
    assert "question  What colour is the screen?\n  answer  the red\n  truth   Red.  (right)\n" in out
    assert len(json.loads(out.splitlines()[-1])["asked"]) == 2 and not (tmp_path / "evaluations").exists()


def test_asking_more_than_there_is_says_so(run, capsys):
    assert evaluate.main(["--checkpoint", run.workdir, "--ask", "9"]) == 0
    out, err = capsys.readouterr()
    assert out.count("question  ") == 3 and err == "--ask is 9, but no clip has more than 3 questions.\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--similarity", "dot"], "--similarity would have no effect on a chat model; leave it out"),
        (["--ask", "1", "--history", "--num_clips", "2"], "--history, --num_clips would have no effect on --ask;"),
    ],
)
def test_options_without_effect_are_refused(run, options, words):
    with pytest.raises(UserError, match=words):
        run(*options)


@pytest.mark.parametrize("options", [["--checkpoint", "w"], ["--history"], ["--ask", "1"], ["--split", "test"]])
def test_options_of_runs_are_refused_for_a_file_of_answers(options):
    with pytest.raises(UserError, match=f"{options[0]} would have no effect on a file of predictions"):
        evaluate.main(["--predictions", "mine.jsonl", "--data", "msvd_qa:test_qa.json", *options])


def test_training_answers_that_are_gone_are_done_without(tmp_path, monkeypatch, run, data, capsys):
    gone = dataclasses.replace(data, train="questions:screens/gone")
    model = SimpleNamespace(config=None, params=None, tokenizer=DATA.tokenizer, data=gone, step=30)
    model.run = SimpleNamespace(data=gone, eval_batch_size=4)
    monkeypatch.setattr(trained_chat, "load_chat_model", lambda workdir, which: model)
    assert "most frequent answer of the evaluated answers themselves" in run()


def test_a_stage_without_an_evaluation_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"stage": "long_clip"}')
    with pytest.raises(CheckpointError, match="a run of the stage 'long_clip', which is not evaluated by itself"):
        evaluate.main(["--checkpoint", str(tmp_path)])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="config.json is not JSON"):
        evaluate.main(["--checkpoint", str(tmp_path)])


def test_a_file_of_answers_needs_no_run(tmp_path, capsys):
    questions = [{"id": 1, "video_id": 2, "question": "what is it?", "answer": "cat"}]
    (tmp_path / "test_qa.json").write_text(json.dumps(questions))
    (tmp_path / "mine.jsonl").write_text('{"id": 1, "answer": "a cat"}\n')
    arguments = ["--predictions", str(tmp_path / "mine.jsonl"), "--data", f"msvd_qa:{tmp_path}/test_qa.json", "--json"]
    assert evaluate.main(arguments) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])["mine"]["overall"]["normalised"] == 1.0
    assert "mine: 1 questions of msvd_qa:" in out and "checkpoint" not in out


def test_what_to_evaluate_must_be_said():
    with pytest.raises(UserError, match="--checkpoint, or a file of answers with --predictions"):
        evaluate.main([])
    with pytest.raises(UserError, match="--predictions needs --data"):
        evaluate.main(["--predictions", "x.json"])
    with pytest.raises(UserError, match="--ask is 0"):
        evaluate.main(["--checkpoint", "x", "--ask", "0"])


def test_an_evaluation_of_a_few_answers_does_not_set_the_temperature(run, tmp_path):
    run()
    whole = json.loads((tmp_path / "evaluations" / "validation.json").read_text())
    few = json.loads(json.dumps(whole))
    few["name"], few["calibration"]["temperature"] = "a-few", 0.3
    for size, temperature in ((1, 3.0), (60, 0.3)):
        for result, questions in ((whole, 100), (few, size)):
            result["calibration"]["measured_on"]["questions"] = questions
        whole["calibration"]["temperature"] = 3.0
        whole["split"] = "unseen"  # So that the other is the first.
        evaluate.write_result(tmp_path, whole)
        evaluate.write_result(tmp_path, few)
        assert trained_chat.fitted_temperature(tmp_path, whole["step"]) == temperature
