"""The model that comes with the package answers every question that its pages suggest, about the clip beside it."""

import json
import pathlib
import re

import numpy as np
import pytest

import hilight_jax
from hilight_jax import chat
from hilight_jax.billiards.encoding import encode_video
from hilight_jax.core.cache import CACHE
from hilight_jax.data.video import decode
from hilight_jax.evals.answer_matching import score
from hilight_jax.formats.exporting import packed
from hilight_jax.formats.exporting.verification import verify

ROOT = pathlib.Path(__file__).parents[1]
SHOT = packed.SHIPPED / "shot.mp4"
# Of shot.mp4, the validation clip 1076 of demo-v2: right answers to all questions about one clip in README, docs,
# cards, Makefile and page.
TRUE = {
    "Which ball is hit first?": ("The red ball.", "Red."),
    "Is the red ball in view?": ("Yes.",),
    "Is the red ball potted?": ("Yes.",),
    "Into which pocket does the red ball fall?": ("The top-right pocket.", "Top right."),
}
ABOUT_SEVERAL_CLIPS = ("In which of the two clips is the red ball in view?",)
ABOUT_FILMS = ("When does the cue ball hit the blue ball?",)
PAGES = (
    "README.md",
    "Makefile",
    "docs/**/*.md",
    "hilight_jax/**/*.md",
    "hilight_jax/**/index.html",
    "hilight_jax/*.py",
)
QUESTION = re.compile(r'(?:--prompt |"text": |ask\(|placeholder=|"content": )"([^"\n]+\?)"')


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(tmp_path_factory.mktemp("cache")))
        yield hilight_jax.load("billiards-mini")


def suggested():
    pages = [page for pattern in PAGES for page in ROOT.glob(pattern)]
    return {question for page in pages for question in QUESTION.findall(page.read_text(encoding="utf-8"))}


def test_every_suggested_question_is_known_here():
    assert suggested() - {*ABOUT_SEVERAL_CLIPS, *ABOUT_FILMS} == set(TRUE)


@pytest.mark.parametrize("question", TRUE)
def test_a_suggested_question_is_answered_rightly(model, question):
    first, *others = TRUE[question]
    answer = model.chat([{"text": question, "videos": [SHOT]}])
    assert score(answer, first, accepted=others) == 1, answer


def test_it_finds_the_red_ball_until_it_drops(model):
    """In the first frame its centre is at (36.1, 31.4) of 64 px, its radius about 5; in the last it is gone."""
    found = model.locate(SHOT, "the red ball")
    assert found.seen[0] and not found.seen[-1]
    assert np.hypot(found.x[0] - 36.1, found.y[0] - 31.4) < 5


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film of 24 s: grey, then the shot from 10 s to 14 s, then grey again."""
    frames = decode(str(SHOT), lambda total: np.linspace(0, total - 1, 40).round().astype(int))
    grey = np.full((100, *frames.shape[1:]), 90, np.uint8)
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    path.write_bytes(encode_video(np.concatenate([grey, frames, 1.4 * grey]).astype(np.uint8), fps=10))
    return path


def test_a_film_is_chatted_about_over_the_shot_that_fits(film, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.setenv(CACHE, str(tmp_path_factory.getbasetemp() / "films"))
    asked = ["Is the red ball potted?", "When does the cue ball hit the red ball?"]
    options = ["--windows", "4", "--json", "--confidence", "--evidence", str(film.with_suffix(".gif"))]
    prompts = [word for prompt in asked for word in ("--prompt", prompt)]
    chat.main(["--checkpoint", "billiards-mini", "--video", str(film), *prompts, *options])
    said = capsys.readouterr()
    potted, when = json.loads(said.out.splitlines()[-1])["answers"]
    assert potted["finish_reason"] == "stop" and 0 < potted["confidence"] <= 1 and potted["prompt_tokens"] > 8
    (shown,), times = potted["moments"], when["moments"]
    assert shown["end"] - shown["start"] == 4 and len(times) == 3
    assert [moment["score"] for moment in times] == sorted((moment["score"] for moment in times), reverse=True)
    assert when["answer"].startswith("At 00:") and "finish_reason" not in when
    assert "it is cut into shots" in said.err and "no evidence is drawn: the answer is times" in said.err


def test_the_lines_of_a_conversation_about_a_film(film, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.setenv(CACHE, str(tmp_path_factory.getbasetemp() / "films"))
    rings = film.with_name("rings.gif")
    locate = f"/locate {rings} red ball"
    lines = iter([f"/video {film}", locate, "Is the red ball in view?", locate, f"/video {SHOT}", "/reset", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    chat.main(["--checkpoint", "billiards-mini", "--windows", "4"])
    said = capsys.readouterr().out
    assert "film: film.mp4, 6 pieces in 00:24.0" in said and "nothing was asked about the film" in said
    assert re.search(r"(Yes|No)[^\n]*  \(00:\d\d.0 to 00:\d\d.0\)", said) and rings.is_file()
    assert "a film is asked about alone; /reset forgets it" in said and "forgotten" in said


def test_it_is_small_and_what_was_exported():
    place = packed.SHIPPED / "billiards-mini"
    assert sum(path.stat().st_size for path in packed.SHIPPED.rglob("*")) < 16e6
    assert packed.shipped() == ["billiards-mini"]
    assert verify(place)["same"]
