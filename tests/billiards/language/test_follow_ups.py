import numpy as np

from hilight_jax.billiards.language.follow_ups import follow_up
from hilight_jax.billiards.language.posed import Posed
from tests.billiards.pretend import footage, happening, track

CUE, RED, BLUE, GREEN = "ball:cue", "ball:3", "ball:2", "ball:6"


def clip(happenings=(), **changes):
    balls = {
        CUE: track([50.0] * 4, 10.0),
        RED: track([50.0] * 4, 50.0),
        BLUE: track([10.0] * 4),
        GREEN: track([90.0] * 4),
    }
    return footage(balls | changes, happenings, size=(100, 100))


def followed(shot, parent, num_seeds=100):
    found = [follow_up(shot, parent, np.random.default_rng(seed)) for seed in range(num_seeds)]
    return {(posed.variant, posed.slots.get("b"), posed.answer) for posed in found if posed is not None}


def test_after_the_first_hit_comes_the_second_one():
    first, second = happening("strike", CUE, RED, 0), happening("strike", CUE, BLUE, 1)
    parent = Posed("first_hit", RED)
    assert ("after", None, BLUE) in followed(clip([first, second]), parent)
    assert ("after", None, "none") in followed(clip([first]), parent)
    unseen = followed(clip([first, happening("strike", CUE, BLUE, 1, shown=False)]), parent)
    assert not [answer for variant, _, answer in unseen if variant == "after"]


def test_it_is_the_ball_of_the_answer_or_of_the_question():
    assert ("place", None, "middle") in followed(clip(), Posed("nearest", RED))
    assert ("place", None, "middle") in followed(clip(), Posed("in_view", True, {"a": RED}))
    assert not followed(clip(), Posed("in_view", False, {"a": "ball:1"}))


def test_left_and_right_follow_alike():
    found = [follow_up(clip(), Posed("nearest", RED), np.random.default_rng(seed)) for seed in range(400)]
    sides = [posed for posed in found if posed and posed.variant == "side"]
    # The red ball lies between the blue one on its left and the green one on its right.
    assert {(posed.slots["b"], posed.answer) for posed in sides} == {(BLUE, "right"), (GREEN, "left")}
    assert 0.4 < sum(posed.answer == "left" for posed in sides) / len(sides) < 0.6


def test_another_ball_is_compared_after_left_or_right():
    found = followed(clip(), Posed("left_or_right", "left", {"a": RED, "b": CUE}))
    assert {("other_side", BLUE, "right"), ("other_side", GREEN, "left")} <= found


def test_the_pocket_of_a_potted_ball_follows():
    shot = clip([happening("drop", RED, "pocket:top-left", 1)])
    assert followed(shot, Posed("potted", True, {"a": RED})) == {("pocket", None, "pocket:top-left")}
    assert not followed(shot, Posed("potted", False, {"a": BLUE}))


def test_the_balls_at_the_end_are_counted_mostly_where_their_number_changed():
    gone = clip(**{BLUE: track([10.0] * 4, visible=[1, 1, 0, 0])})
    assert followed(gone, Posed("count", 4)) == {("count", None, 3)}
    same = [follow_up(clip(), Posed("count", 4), np.random.default_rng(seed)) for seed in range(200)]
    assert 25 <= sum(posed is not None for posed in same) <= 75


def test_a_count_at_the_end_is_not_followed_by_one():
    gone = clip(**{BLUE: track([10.0] * 4, visible=[1, 1, 0, 0])})
    assert not followed(gone, Posed("count", 3, {}, "end"))
    assert followed(gone, Posed("count", 4, {}, "any")) == {("count", None, 3)}


def test_the_pocket_of_the_ball_that_is_asked_for_follows():
    shot = clip([happening("drop", RED, "pocket:top-left", 1)])
    assert followed(shot, Posed("potted_ball", RED)) == {("pocket", None, "pocket:top-left")}
    assert not followed(shot, Posed("potted_ball", "none"))
