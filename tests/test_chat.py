"""The command: one answer and nothing else, and a conversation line by line."""

import io
import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

import hilight_jax
from hilight_jax import chat
from hilight_jax.core.errors import CheckpointError, ConfigError, DataError, UserError
from tests.serving.workdirs import make_chat_model, make_encoder, write_video


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    make_chat_model(root / "align", make_encoder(root / "encoder"))
    for seed, name in enumerate("ab"):
        write_video(root / f"{name}.mp4", seed)
    return root


@pytest.fixture(scope="module")
def model(root):
    return hilight_jax.load(root / "align")


@pytest.fixture
def run(root, model, monkeypatch, capsys, tmp_path):
    """Runs the command on the loaded model, in an empty directory, with these lines typed."""
    monkeypatch.setattr(hilight_jax, "load", lambda workdir, which: model)
    monkeypatch.chdir(tmp_path)

    def call(*arguments, lines=()):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        assert chat.main(["--checkpoint", str(root / "align"), "--max_new_tokens", "6", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return call


def answer_to(model, question, *videos):
    return model.chat([{"text": question, "videos": videos}], max_new_tokens=6)


def test_a_prompt_prints_only_the_answer(run, root, model):
    out = run("--video", root / "a.mp4", "--video", root / "b.mp4", "--prompt", "In which?")
    assert out == answer_to(model, "In which?", root / "a.mp4", root / "b.mp4") + "\n"


def test_several_prompts_are_turns_of_one_conversation(run, root, model):
    dialogue = model.dialogue(max_new_tokens=6)
    dialogue.show(root / "a.mp4")
    answers = [dialogue.ask(text).text for text in ("Is it?", "And then?")]
    given = ("--video", root / "a.mp4", "--prompt", "Is it?", "--prompt", "And then?")
    assert run(*given) == f"> Is it?\n{answers[0]}\n> And then?\n{answers[1]}\n"
    assert [each["answer"] for each in json.loads(run(*given, "--json"))["answers"]] == answers


def test_the_program_prints_nothing_else_on_stdout(root, model):
    arguments = ["--checkpoint", root / "align", "--video", root / "a.mp4", "--prompt", "Is it?", "--max_new_tokens", 6]
    command = [sys.executable, "-m", "hilight_jax.chat", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONUTF8": "1"})
    assert done.stdout.decode() == answer_to(model, "Is it?", root / "a.mp4") + "\n"


def test_json_is_the_only_line_and_tells_of_the_evidence(run, root, model, tmp_path):
    out = run("--video", root / "a.mp4", "--prompt", "Is it?", "--evidence", "out.gif", "--json")
    result = json.loads(out)
    assert result["answer"] == answer_to(model, "Is it?", root / "a.mp4")
    assert result["finish_reason"] in ("stop", "length") and result["prompt_tokens"] > 32
    assert result["evidence"] == "out.gif" and 0 < result["clip_shares"][0] < 1
    with Image.open(tmp_path / "out.gif") as gif:
        assert gif.n_frames == 6


def test_the_confidence_stands_beside_the_answer(run, root, model, capsys):
    dialogue = model.dialogue(max_new_tokens=6)
    dialogue.show(root / "a.mp4")
    reply = dialogue.ask("Is it?")
    beside = f"{reply.text}  (confidence {reply.confidence:.2f})\n"
    assert run("--video", root / "a.mp4", "--prompt", "Is it?", "--confidence") == beside
    assert beside in run("--video", root / "a.mp4", "--confidence", lines=["Is it?"])
    result = json.loads(run("--video", root / "a.mp4", "--prompt", "Is it?", "--confidence", "--json"))
    assert result["confidence"] == pytest.approx(reply.confidence, rel=1e-5) and 0 < reply.confidence < 1


def test_a_checkpoint_that_was_not_evaluated_has_a_confidence_that_is_not_calibrated(root, monkeypatch, capsys):
    arguments = ["--checkpoint", str(root / "align"), "--prompt", "Is it?", "--max_new_tokens", "2", "--confidence"]
    assert chat.main(arguments) == 0
    assert "not calibrated; 'python -m hilight_jax.evaluate --checkpoint" in capsys.readouterr().err


def test_temperature_draws_by_seed(run, root):
    def hot(seed):
        return run("--video", root / "a.mp4", "--prompt", "Is it?", "--temperature", 5, "--seed", seed)

    assert hot(0) == hot(0) and len({hot(seed) for seed in range(4)}) > 1


def test_a_conversation_goes_on_until_it_is_quit(run, root, model):
    lines = ("Is it?", f"/video {root / 'b.mp4'}", "In which?", "/quit", "never read")
    out = run("--video", root / "a.mp4", lines=lines)
    turns = [{"text": "Is it?", "videos": [root / "a.mp4"]}]
    first = model.chat(turns, max_new_tokens=6)
    turns += [{"role": "model", "text": first}, {"text": "In which?", "videos": [root / "b.mp4"]}]
    second = model.chat(turns, max_new_tokens=6)
    assert "video 1: a.mp4, 6 frames" in out and "video 2: b.mp4, 6 frames" in out
    assert out.index(first) < out.index("video 2") < out.rindex(second)


def test_what_goes_wrong_is_said_and_the_conversation_goes_on(run, root, model):
    lines = (
        "/vidoe a.mp4",
        "/video",
        "/video none.mp4",
        "a " * 2000,
        "/evidence x.png",
        "/evidence x.gif",
        "/evidence",
    )
    out = run(lines=(*lines, "/reset", f"/video {root / 'a.mp4'}", "Is it?"))
    for sentence in (
        "error: '/vidoe' is unknown. Did you mean '/video'?",
        "error: /video needs the path of a file",
        "error: none.mp4: the file does not exist",
        "error: the conversation cannot be answered: its ",
        "does not end in .gif",
        "no answer was given yet",
        "/evidence needs the path",
        "forgotten",
    ):
        assert sentence in out
    assert answer_to(model, "Is it?", root / "a.mp4") in out


def test_help_lists_every_order(run):
    out = run(lines=["/help"])
    for order in ("/video PATH", "/evidence PATH", "/locate PATH TEXT", "/reset", "/help", "/quit"):
        assert order in out


def test_evidence_is_drawn_after_an_answer(run, root, tmp_path):
    out = run("--video", root / "a.mp4", "--evidence", "all.gif", lines=["Is it?", "/evidence one.gif"])
    assert "% from video 1" in out and (tmp_path / "all.gif").read_bytes() == (tmp_path / "one.gif").read_bytes()


def test_things_are_ringed_in_the_last_video(run, root, model, tmp_path):
    lines = [
        "/locate a.gif red ball",
        f"/video {root / 'a.mp4'}",
        "/locate",
        "/locate a.gif it",
        "/locate a.png red ball",
    ]
    out = run(lines=[*lines, "/locate a.gif the red ball and the blue ball"])
    for message in (
        "no video was shown yet",
        "/locate needs the path of a GIF and the things to look for",
        "'it' names nothing that can be seen",
        "'a.png' does not end in .gif",
    ):
        assert message in out
    count = model.data.num_frames
    assert re.search(rf"a\.gif: the red ball in \d of {count} frames, the blue ball in \d of {count} frames", out)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == count


def test_ctrl_c_stops_an_answer_only(run, root, monkeypatch, model):
    generate, calls = model.generator.generate, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return generate(*arguments, **options)

    monkeypatch.setattr(model.generator, "generate", interrupted)
    out = run("--video", root / "a.mp4", lines=["Is it?", "Is it?"])
    assert "stopped; the question is forgotten" in out and len(calls) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--prompt", " "], UserError, "--prompt is empty"),
        (["--json"], UserError, "--json needs --prompt"),
        (["--prompt", "a", "--evidence", "a.gif"], UserError, "--evidence needs --video"),
        (["--evidence", "a.png"], UserError, r"does not end in \.gif"),
        (["--evidence", "none/a.gif"], UserError, "the directory of 'none/a.gif' does not exist"),
        (["--prompt", "a", "--video", "none.mp4"], DataError, r"none\.mp4: the file does not exist"),
        (["--prompt", "<video>"], DataError, "question 1 is empty"),
        (["--prompt", "a <video>"], DataError, "1 <video> mark for 0 videos"),
        (["--prompt", "a", "--top_k", "3"], ConfigError, "temperature is 0"),
    ],
)
def test_bad_input_is_one_sentence(run, arguments, error, message):
    with pytest.raises(error, match=message):
        run(*arguments)


def test_an_encoder_cannot_chat(root):
    with pytest.raises(CheckpointError, match="cannot chat; name a run of align or tune"):
        chat.main(["--checkpoint", str(root / "encoder"), "--prompt", "a"])
