import numpy as np
import pytest

from hilight_jax.billiards.language.clauses import clauses
from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.questions import TYPES, questions
from tests.billiards.pretend import footage, happening, track

CUE, RED, BLUE = "ball:cue", "ball:3", "ball:2"
CUSHION = {"cushion:left": track([2.0] * 4)}
POCKET = {"pocket:top-left": track([60.0] * 4)}
NAMER = Namer(numbers=False, pool=("2", "3", "6"))


def asked(shot, seed=0):
    return {q["type"]: (q["question"], q["answer"]) for q in questions(shot, NAMER, np.random.default_rng(seed))}


def three_balls(happenings=(), **changes):
    balls = {CUE: track([10.0] * 4), RED: track([30.0] * 4), BLUE: track([58.0] * 4)}
    return footage(balls | changes.pop("balls", {}), happenings, **changes)


def test_balls_at_the_start_are_counted():
    assert asked(three_balls())["count"] == ("How many balls are in view at the start?", "Three.")


def test_a_ball_cut_by_the_border_leaves_the_count_open():
    assert "count" not in asked(three_balls(balls={RED: track([0.0] * 4, visible=0.3)}))


def test_the_first_hit_is_asked_when_the_frames_tell_it():
    shot = three_balls([happening("strike", CUE, BLUE, 0), happening("strike", CUE, RED, 1)])
    assert asked(shot)["first_hit"] == ("Which ball does the cue ball hit first?", "The blue ball.")


@pytest.mark.parametrize(
    "happenings",
    [
        [],
        [happening("strike", CUE, BLUE, 0, shown=False)],
        [happening("strike", CUE, BLUE, 0), happening("strike", CUE, RED, 0)],
        [happening("strike", RED, CUE, 0)],
    ],
    ids=["no hit", "not shown", "two hits between the same frames", "cue ball is hit"],
)
def test_the_first_hit_is_not_asked_when_the_frames_leave_it_open(happenings):
    assert "first_hit" not in asked(three_balls(happenings))


def test_hits_are_asked_with_yes_and_no_alike_and_answered_right():
    shot = three_balls([happening("strike", CUE, BLUE, 0)])
    answers = [asked(shot, seed)["hit"] for seed in range(200)]
    assert set(answers) == {
        ("Does the cue ball hit the blue ball?", "Yes."),
        ("Does the cue ball hit the red ball?", "No."),
    }
    assert 70 <= sum(answer == "Yes." for _, answer in answers) <= 130


def test_the_order_of_events_is_asked_only_across_frames():
    early, late = happening("strike", CUE, RED, 0), happening("rebound", RED, "cushion:left", 2)
    same = happening("rebound", RED, "cushion:left", 0)
    assert "order" not in asked(three_balls([early, same]))
    assert {asked(three_balls([early, late]), seed)["order"] for seed in range(30)} == {
        ("Does the cue ball hit the red ball before the red ball bounces off the left cushion?", "Yes."),
        ("Does the red ball bounce off the left cushion before the cue ball hits the red ball?", "No."),
    }


def test_no_order_is_asked_of_an_event_that_repeats():
    off, hit = happening("rebound", RED, "cushion:left"), happening("strike", CUE, RED, 1)
    again = happening("rebound", RED, "cushion:left", 2)
    assert "order" in asked(three_balls([off, hit]))
    assert "order" not in asked(three_balls([off, hit, again]))
    assert "order" not in asked(three_balls([off, hit, happening("rebound", RED, "cushion:left", 2, shown=False)]))


def potted_red(**changes):
    gone = {"balls": {RED: track([30.0] * 4, visible=[1, 1, 0, 0])}, "on_table": {RED: np.array([1, 1, 0, 0], bool)}}
    return three_balls([happening("drop", RED, "pocket:top-left", 1)], **(gone | {"places": POCKET} | changes))


def test_potted_balls_are_counted_and_named_with_their_pocket():
    answers = asked(potted_red())
    assert answers["count_potted"] == ("How many balls are potted?", "One.")
    assert answers["pocket"] == ("Into which pocket does the red ball fall?", "The top-left pocket.")


def test_none_potted_is_a_matter_only_where_a_pocket_is_in_view_and_then_seldom():
    answers = [asked(three_balls(places=POCKET), seed).get("count_potted") for seed in range(200)]
    assert set(answers) == {None, ("How many balls are potted?", "None.")}
    assert 30 <= 200 - answers.count(None) <= 90
    assert all("count_potted" not in asked(three_balls(), seed) for seed in range(20))


def test_potted_balls_are_not_counted_when_a_ball_has_left_the_picture():
    shot = three_balls(balls={BLUE: track([58.0] * 4, visible=[1, 1, 0, 0])}, places=POCKET)
    assert all("count_potted" not in asked(shot, seed) for seed in range(20))


def test_whether_a_ball_is_potted_is_asked_only_where_both_answers_occur():
    assert "potted" not in asked(three_balls())
    answers = [asked(potted_red(), seed)["potted"] for seed in range(200)]
    assert 70 <= sum(answer == "Yes." for _, answer in answers) <= 130
    assert all((answer == "Yes.") == ("red" in question) for question, answer in answers)


def test_a_cushion_is_asked_for_when_the_ball_touches_one_only():
    left, top = happening("rebound", RED, "cushion:left", 0), happening("rebound", RED, "cushion:top", 2)
    assert asked(three_balls([left]))["cushion"] == ("Which cushion does the red ball touch?", "The left cushion.")
    assert "cushion" not in asked(three_balls([left, top]))


def test_the_cue_balls_touches_of_cushions_are_counted_when_each_can_be_seen():
    places = {"cushion:left": track([0.0] * 4)}
    touches = [happening("rebound", CUE, "cushion:left", 0), happening("rebound", CUE, "cushion:top", 2)]
    question = "How many times does the cue ball touch a cushion?"
    assert asked(three_balls(touches, places=places))["cushions"] == (question, "Two.")
    quiet = {asked(three_balls([], places=places), seed).get("cushions") for seed in range(60)}
    assert quiet == {None, (question, "None.")}
    unseen = [happening("rebound", CUE, "cushion:left", 1, shown=False)]
    assert "cushions" not in asked(three_balls([*touches, *unseen], places=places))
    assert "cushions" not in asked(three_balls(touches, places=places, jaw_touches=[CUE]))


def test_left_and_right_are_those_of_the_picture_and_balanced():
    shot = footage({CUE: track([50.0]), RED: track([10.0])})
    answers = [asked(shot, seed)["left_or_right"] for seed in range(200)]
    assert set(answers) == {
        ("At the end, is the cue ball left or right of the red ball?", "Right."),
        ("At the end, is the red ball left or right of the cue ball?", "Left."),
    }
    assert 70 <= sum(answer == "Left." for _, answer in answers) <= 130


def test_the_nearest_ball_needs_a_margin_and_all_balls_in_view():
    assert asked(three_balls())["nearest"][1] == "The red ball."
    assert "nearest" not in asked(three_balls(balls={BLUE: track([33.0] * 4)}))
    assert "nearest" not in asked(three_balls(balls={BLUE: track([58.0] * 4, visible=0.0)}))


def test_a_ball_asked_for_is_in_view_half_of_the_time():
    answers = [asked(three_balls(), seed)["in_view"] for seed in range(200)]
    assert 70 <= sum(answer == "Yes." for _, answer in answers) <= 130
    assert set(answers) == {
        ("Is the red ball in view?", "Yes."),
        ("Is the blue ball in view?", "Yes."),
        ("Is the green ball in view?", "No."),
    }


def test_all_types_are_asked_at_most_once_in_a_fixed_order():
    kinds = [q["type"] for q in questions(potted_red(), NAMER, np.random.default_rng(0))]
    assert kinds == [kind for kind in TYPES if kind in kinds]


def shot(happenings=(), places=None, **balls):
    tracks = {CUE: track([10.0] * 4), RED: track([30.0] * 4), BLUE: track([58.0] * 4)}
    return footage(tracks | balls, happenings, places)


def test_balls_in_view_and_absent_ones_are_told_and_glimpsed_ones_are_not():
    found = clauses(shot(**{RED: track([0.0] * 4, visible=0.3)}), NAMER)
    assert found["is the blue ball in view"] and not found["is the green ball in view"]
    assert "is the red ball in view" not in found and "is the cue ball in view" not in found


def test_the_first_hit_holds_and_balls_that_are_never_hit_do_not():
    strikes = [happening("strike", CUE, BLUE, 0)]
    found = clauses(shot(strikes), NAMER)
    assert found["does the cue ball hit the blue ball"] and not found["does the cue ball hit the red ball"]
    later = clauses(shot([*strikes, happening("strike", CUE, RED, 1, shown=False)]), NAMER)
    assert "does the cue ball hit the red ball" not in later
    assert not any("hit" in clause for clause in clauses(shot(), NAMER))


def test_a_ball_whose_drop_is_shown_is_potted_and_one_in_view_to_the_end_is_not():
    gone = track([30.0] * 4, visible=[1, 1, 0, 0])
    found = clauses(shot([happening("drop", RED, "pocket:top-left", 1)], POCKET, **{RED: gone}), NAMER)
    assert found["is the red ball potted"] and not found["is the blue ball potted"]
    unseen = clauses(shot([happening("drop", RED, None, 1, shown=False)], **{RED: gone}), NAMER)
    assert "is the red ball potted" not in unseen


def test_cushions_are_told_when_the_cue_ball_is_watched():
    touch = happening("rebound", CUE, "cushion:left", 1)
    clause = "does the cue ball touch a cushion"
    assert clauses(shot([touch], CUSHION), NAMER)[clause]
    assert not clauses(shot([], CUSHION), NAMER)[clause]
    assert clause not in clauses(shot([touch]), NAMER)
    assert clause not in clauses(shot([], CUSHION, **{CUE: track([10.0] * 4, visible=[1, 0, 1, 1])}), NAMER)
