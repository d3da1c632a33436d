"""The model that comes with the package answers every question that its pages suggest, about the clip beside it."""

import pathlib
import re

import numpy as np
import pytest

import hilight_jax
from hilight_jax.core.cache import CACHE
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
    assert suggested() - set(ABOUT_SEVERAL_CLIPS) == set(TRUE)


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


def test_it_is_small_and_what_was_exported():
    place = packed.SHIPPED / "billiards-mini"
    assert sum(path.stat().st_size for path in packed.SHIPPED.rglob("*")) < 16e6
    assert packed.shipped() == ["billiards-mini"]
    assert verify(place)["same"]
