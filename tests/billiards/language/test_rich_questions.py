import json

import numpy as np
import pytest

from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.rich_questions import comparison, rich_questions, talks
from hilight_jax.billiards.worlds import EDGE
from hilight_jax.evals.answer_matching import matches, score
from tests.billiards.pretend import footage, happening, track

CUE, RED, BLUE, GREEN = "ball:cue", "ball:3", "ball:2", "ball:6"
NAMER = Namer(numbers=False, pool=("1", "2", "3", "6"))


def shot(happenings=(), **more):
    balls = {
        CUE: track([10.0] * 4, 50.0),
        RED: track([30.0] * 4, 10.0),
        BLUE: track([50.0] * 4),
        GREEN: track([70.0] * 4),
    }
    return footage(balls | more.pop("balls", {}), happenings, size=(80, 80), **more)


def asked(clip, kind, num_seeds=200, trains=True):
    """All questions of one kind that different seeds ask."""
    found = []
    for seed in range(num_seeds):
        written = rich_questions(clip, NAMER, np.random.default_rng(seed), trains)
        found += [question for question in written if question["type"] == kind]
    return found


def test_training_asks_in_trained_words_only_and_a_coin_decides_elsewhere():
    clip = shot([happening("strike", CUE, RED)])
    assert {question["wording"] for question in asked(clip, "hit")} == {"trained"}
    held_out = [question["wording"] == "held_out" for question in asked(clip, "hit", trains=False)]
    assert 0.4 < sum(held_out) / len(held_out) < 0.6
    trained, other = ({q["question"] for q in asked(clip, "first_hit", 60, trains)} for trains in (True, False))
    assert len(trained) > 30 and len(other - trained) > 20


def test_all_wordings_of_a_question_have_the_same_about_and_answer():
    answers = {
        (question["about"], question["accepted"][0]) for question in asked(shot([happening("strike", CUE, RED)]), "hit")
    }
    assert answers == {("hit ball:3", "Yes."), ("hit ball:2", "No."), ("hit ball:6", "No.")}


def test_a_seventh_of_the_questions_asks_for_a_sentence_and_both_forms_are_accepted():
    questions = asked(shot([happening("strike", CUE, RED)]), "first_hit")
    sentences = [question for question in questions if "sentence" in question["question"]]
    assert 0.08 < len(sentences) / len(questions) < 0.22
    assert {question["answer"] for question in sentences} == {"The cue ball hits the red ball first."}
    for question in questions:
        truth, accepted = question["answer"], question["accepted"]
        assert all(score(a, truth, "first_hit", accepted) == 1 for a in ("red", "The red ball.", "the red one"))
        assert score("The cue ball hits the red ball first.", truth, "first_hit", accepted) == 1
        assert score("The blue ball.", truth, "first_hit", accepted) == 0


def test_yes_and_no_are_accepted_with_or_without_a_sentence():
    for question in asked(shot(), "left_of", 40):
        assert any(matches(question["accepted"][0], answer) for answer in ("Yes.", "No."))
        assert score(question["accepted"][0], question["answer"], "left_of", question["accepted"]) == 1
        assert score(question["accepted"][1], question["accepted"][0], "left_of") == 1


def test_a_first_hit_is_asked_only_where_no_other_touch_comes_before():
    hit = happening("strike", CUE, RED, 1)
    assert asked(shot([hit]), "first_hit", 20)
    assert not asked(shot([happening("strike", GREEN, BLUE, 0), hit]), "first_hit", 20)
    assert not asked(shot([happening("rebound", CUE, "cushion:left", 0), hit]), "first_hit", 20)


def test_balls_that_meet_are_asked_with_yes_and_no_alike():
    questions = asked(shot([happening("strike", RED, BLUE)]), "collide")
    truths = {question["about"]: question["accepted"][0] for question in questions}
    assert truths == {
        "collide ball:3 ball:2": "Yes.", "collide ball:3 ball:6": "No.", "collide ball:6 ball:2": "No.",
    }  # fmt: skip
    assert not asked(shot([happening("strike", CUE, BLUE)]), "collide", 20)


def test_left_of_is_asked_with_yes_and_no_alike():
    questions = asked(shot(), "left_of")
    x = {CUE: 10, RED: 30, BLUE: 50, GREEN: 70}
    for question in questions:
        _, left, right = question["about"].split()
        assert question["accepted"][0] == ("Yes." if x[left] < x[right] else "No.")
    assert 0.4 < sum(question["accepted"][0] == "Yes." for question in questions) / len(questions) < 0.6


def test_the_cue_ball_is_asked_for_where_it_is_missing_and_three_times_less_where_it_is_not():
    present = [question for question in asked(shot(), "in_view", 400) if question["about"] == "in_view ball:cue"]
    away = shot(balls={CUE: track([10.0] * 4, visible=0.0)})
    absent = [question for question in asked(away, "in_view", 400) if question["about"] == "in_view ball:cue"]
    assert {q["accepted"][0] for q in present} == {"Yes."} and {q["accepted"][0] for q in absent} == {"No."}
    assert 2 < len(absent) / len(present) < 4.5
    half = shot(balls={CUE: track([0.0] * 4, visible=0.3)})
    assert not [question for question in asked(half, "in_view", 100) if question["about"] == "in_view ball:cue"]


def test_what_a_clip_cannot_tell_is_asked_of_a_share_and_never_answered():
    questions = asked(shot(), "unanswerable", 300)
    assert 0.25 < len(questions) / 300 < 0.45
    assert {question["answer"] for question in questions} == {"The clip does not show that."}


def test_talk_needs_no_clip():
    drawn = [talk for seed in range(300) for talk in talks(np.random.default_rng(seed), True)]
    known = {talk["question"].lower().rstrip(".?"): talk["answer"] for talk in drawn}
    colours = {question: answer for question, answer in known.items() if "colour" in question and "8" in question}
    assert len(colours) >= 3 and set(colours.values()) == {"Black."}
    assert known["hello"].startswith("Hello.")
    assert "It is a foul." in known.values() and len(known) > 80


def test_two_clips_are_compared_in_several_words():
    drawn = {comparison(np.random.default_rng(seed), True)["question"] for seed in range(100)}
    assert len(drawn) >= 6 and all(question.lower().count("{clause}") == 1 for question in drawn)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_clips_of_the_rich_world_carry_all_of_it(split):
    labels = make_clip(EDGE, split, 3).labels
    json.dumps(labels)
    assert labels["talks"] and labels["comparison"] and "swaps" in labels
    for question in labels["questions"]:
        assert question["accepted"] and question["wording"] in ("trained", "held_out")
        assert split != "train" or question["wording"] == "trained"
        assert score(question["answer"], question["answer"], question["type"], question["accepted"]) == 1
    assert len({question["about"] for question in labels["questions"]}) == len(labels["questions"])
