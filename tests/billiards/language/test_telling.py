import numpy as np
import pytest

from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.telling import facts_told, share_told, what_happens
from tests.billiards.pretend import footage, happening, track

CUE, RED, BLUE = "ball:cue", "ball:3", "ball:2"
TRUTH = "The cue ball hits the red ball. The red ball hits the blue ball. The blue ball falls into the top-left pocket."


def told(happenings):
    balls = {CUE: track([10.0] * 4), RED: track([30.0] * 4), BLUE: track([58.0] * 4)}
    return what_happens(footage(balls, happenings), Namer(False, ("2", "3")), np.random.default_rng(0))


def test_all_strikes_and_drops_are_told_in_order():
    shot = [
        happening("strike", CUE, RED, 0), happening("rebound", RED, "cushion:left", 1),
        happening("strike", RED, BLUE, 1), happening("drop", BLUE, "pocket:top-left", 2),
    ]  # fmt: skip
    assert told(shot).answer + "." == TRUTH
    assert told([happening("drop", RED, None)]).answer == "The red ball is potted"


def test_nothing_is_told_where_the_frames_do_not_show_it_all():
    assert told([]) is None
    assert told([happening("strike", CUE, RED), happening("strike", RED, BLUE, 1, shown=False)]) is None


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("The cue ball hits the red ball.", {("strike", "cue", "red")}),
        ("the red ball is hit by the white ball", {("strike", "cue", "red")}),
        ("The red one is potted, and then the blue one drops.", {("drop", "red"), ("drop", "blue")}),
        ("The red-striped 11-ball strikes the black 8-ball.", {("strike", "11", "8")}),
        ("We see the red ball and the blue ball.", set()),
        ("The cue ball does not hit the red ball.", set()),
    ],
)  # fmt: skip
def test_facts_are_read_from_many_words(text, facts):
    assert facts_told(text) == facts


def test_an_answer_scores_the_share_of_facts_less_the_wrong_ones():
    assert share_told(TRUTH, TRUTH) == 1
    assert share_told("The red ball is hit by the cue ball, and the blue ball drops.", TRUTH) == pytest.approx(2 / 3)
    assert share_told("The cue ball hits the red ball. The cue ball is potted.", TRUTH) == 0
    assert share_told("The red ball hits the cue ball.", TRUTH) == 0
    assert share_told("I see a table.", TRUTH) == 0
