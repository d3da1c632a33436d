import pytest

from hilight_jax.evals.answer_matching import points_agree, score
from hilight_jax.evals.answer_scores import Answered, summarise_answers

TRUE_POINT = '<point x="40.0" y="60.0" t="100">the red ball</point>'


@pytest.mark.parametrize(
    ("answer", "agrees"),
    [
        (TRUE_POINT, True),
        ('It is here: <point x="43.5" y="56.5" t="95">', True),
        ('<point x="47" y="60" t="100">the red ball</point>', False),
        ('<point x="40.0" y="60.0" t="80">the red ball</point>', False),
        ('<point x="4.0.0" y="60.0" t="100">', False),
        ("In the middle.", False),
    ],
)
def test_a_point_is_right_when_it_is_near_in_place_and_time(answer, agrees):
    assert points_agree(answer, TRUE_POINT) == agrees
    assert score(answer, TRUE_POINT, "point") == agrees


def test_accepted_answers_are_as_right_as_the_truth():
    sentence = "The cue ball hits the red ball first."
    assert score("red", sentence, "first_hit", ("The red ball.", "Red.", sentence)) == 1
    assert score("The blue ball.", sentence, "first_hit", ("The red ball.", "Red.", sentence)) == 0
    assert score("Yes, it does.", "Yes, the cue ball hits the red ball.", "hit", ("Yes.",)) == 1
    assert score("No.", "Yes, the cue ball hits the red ball.", "hit", ("Yes.",)) == 0


def test_an_open_answer_is_scored_by_its_facts_and_any_other_as_ever():
    truth = "The cue ball hits the red ball. The red ball is potted."
    assert score("The cue ball hits the red ball.", truth, "open") == 0.5
    assert score("The cue ball hits the red ball.", truth, "caption") == 0
    assert score("a dog runs", "A dog runs.", "open") == 1, "an open question of another domain"


def answered(number, answer, wording, kind="hit"):
    return Answered(f"q{number}", number, f"clip{number}", kind, "?", "Yes.", answer, wording=wording)


def test_trained_and_held_out_wordings_stand_side_by_side():
    rows = [answered(0, "Yes.", "trained"), answered(1, "Yes.", "trained"), answered(2, "Yes.", "held_out")]
    rows += [answered(3, "No.", "held_out"), answered(4, "Yes.", "", "count")]
    types = summarise_answers(rows)["types"]
    assert types["hit"]["wordings"] == {
        "trained": 1.0, "held_out": 0.5, "difference": -0.5, "trained_questions": 2, "held_out_questions": 2,
    }  # fmt: skip
    assert types["count"]["wordings"] is None
    only = summarise_answers(rows[:2])["overall"]["wordings"]
    assert only["held_out"] is None and only["difference"] is None


def test_a_kind_that_is_asked_without_a_clip_needs_no_video():
    talk = answered(1, "Hello.", "trained", "no_clip")._replace(clip="", truth="Hello.")
    needs = summarise_answers([answered(0, "Yes.", "trained"), talk])["needs_video"]
    assert needs["types"] == ["hit"] and needs["given_away_by_question"] == ["no_clip"]


def test_an_answer_that_is_partly_right_counts_as_much():
    truth = "The cue ball hits the red ball. The red ball is potted."
    item = Answered("q", 0, "clip", "open", "What happens?", truth, "The red ball drops.")
    assert summarise_answers([item])["overall"]["normalised"] == 0.5
    assert item.as_json()["score"] == 0.5 and item.as_json()["right"] is False


def test_a_kind_with_some_questions_about_clips_may_need_the_video():
    talk = answered(1, "Yes.", "trained")._replace(clip="")
    assert summarise_answers([answered(0, "Yes.", "trained"), talk])["needs_video"]["types"] == ["hit"]


def test_questions_about_a_clip_and_a_second_one_are_not_independent():
    """All about clip a are right and all about clip b wrong: two clips say nothing, whatever is shown beside them."""
    rows = [answered(number, "Yes." if number < 4 else "No.", "") for number in range(8)]
    rows = [row._replace(clip=f"{'ab'[row.index // 4]}+{row.index}") for row in rows]
    assert summarise_answers(rows)["overall"]["interval"] == [0.0, 1.0]


def test_talks_without_a_clip_are_independent():
    rows = [answered(number, "Yes." if number % 2 else "No.", "")._replace(clip="") for number in range(20)]
    low, high = summarise_answers(rows)["overall"]["interval"]
    assert 0.2 < low < 0.4 and 0.6 < high < 0.8
    assert [row.cluster for row in rows[:2]] == ["0", "1"]
