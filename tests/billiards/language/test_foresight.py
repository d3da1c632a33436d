import numpy as np

from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.foresight import next_hit, next_potted, what_if, what_if_potted
from hilight_jax.billiards.language.outlook import Alternative, Coming, Outlook
from tests.billiards.pretend import footage, happening, track

CUE, RED, BLUE = "ball:cue", "ball:3", "ball:2"
NAMER = Namer(numbers=False, pool=("2", "3"))
HIT = Coming("strike", CUE, RED)


def clip(coming=None, alternatives=None, happenings=(), **changes):
    balls = {CUE: track([10.0] * 4), RED: track([30.0] * 4), BLUE: track([58.0] * 4)}
    return footage(balls | changes, happenings, outlook=Outlook(coming, alternatives))


def asked(ask, shot, num_seeds=200):
    found = [ask(shot, NAMER, np.random.default_rng(seed)) for seed in range(num_seeds)]
    return [(posed.slots, posed.answer) for posed in found if posed is not None]


def test_the_ball_that_is_hit_next_is_asked_for():
    assert asked(next_hit, clip((HIT,)), 1) == [({"a": CUE}, RED)]
    assert asked(next_hit, clip((Coming("rebound", BLUE, None), HIT)), 1) == [({"a": CUE}, RED)]


def test_no_next_hit_is_asked_where_the_last_frame_does_not_lead_to_it():
    assert not asked(next_hit, clip())
    assert not asked(next_hit, clip(()))
    assert not asked(next_hit, clip((Coming("rebound", CUE, "cushion:left"), HIT))), "the cue ball turns before"
    assert not asked(next_hit, clip((HIT,), **{RED: track([30.0] * 4, visible=[1, 1, 1, 0])}))
    assert not asked(next_hit, clip((HIT,), **{RED: track([30.0, 30.0, 30.0, 35.0])})), "the red ball moves itself"


def near_a_pocket(coming=(), moving=True):
    """The red ball lies 2 radii from a pocket, the blue one 4, and the cue ball far away; it rolls or not."""
    x = [10.0, 10.0, 10.0, 20.0 if moving else 10.0]
    balls = {CUE: track(x), RED: track([70.0] * 4), BLUE: track([100.0] * 4)}
    return footage(balls, outlook=Outlook(coming), places={"pocket:top": track([80.0] * 4)})


def test_a_ball_that_will_be_potted_is_asked_about_and_seldom_another_one():
    answers = asked(next_potted, near_a_pocket((HIT, Coming("drop", RED, None))))
    assert all((slots["a"] == RED) == answer for slots, answer in answers)
    assert len(answers) == 200 and 160 <= sum(answer for _, answer in answers) <= 195


def test_where_none_will_be_potted_the_one_nearest_to_a_pocket_is_asked_about():
    assert asked(next_potted, near_a_pocket((HIT,)), 1) == [({"a": RED}, False)]
    assert not asked(next_potted, near_a_pocket((), moving=False)), "no would be plain"
    assert not asked(next_potted, near_a_pocket(None))
    assert not asked(next_potted, clip((HIT,))), "no pocket is in the picture"


def without(ball, *events):
    return Alternative("without", ball, events)


def test_without_a_ball_another_one_is_hit_or_none():
    changed = without(RED, Coming("strike", CUE, BLUE))
    assert set(map(str, asked(what_if, clip((), (changed,), [happening("strike", CUE, RED)])))) == {
        str(({"a": RED}, BLUE))
    }
    nothing = asked(what_if, clip((), (without(RED),), [happening("strike", CUE, RED)]))
    assert 30 <= len(nothing) <= 90 and nothing[0] == ({"a": RED}, "none")


def test_a_change_that_changes_nothing_is_asked_for_less_often():
    same = without(BLUE, Coming("strike", CUE, RED))
    answers = asked(what_if, clip((HIT,), (same,)))
    assert 30 <= len(answers) <= 90 and answers[0] == ({"a": BLUE}, RED)


def test_a_changed_shot_is_asked_about_balls_in_view_only():
    hidden = {BLUE: track([58.0] * 4, visible=0.0)}
    assert not asked(what_if, clip((), (without(RED, Coming("strike", CUE, BLUE)),), **hidden))
    assert not asked(what_if, clip((), (without(BLUE, Coming("strike", CUE, RED)),), **hidden))


def test_a_harder_shot_pots_a_ball_or_does_not():
    harder = Alternative("harder", None, (HIT, Coming("drop", RED, None)))
    answers = asked(what_if_potted, clip((), (harder,)))
    assert all((slots["b"] == RED) == answer for slots, answer in answers)
    assert 70 <= sum(answer for _, answer in answers) <= 130
    gone = asked(what_if_potted, clip((), (without(BLUE, Coming("drop", RED, None)),)))
    assert all(slots["a"] == BLUE and slots["b"] != BLUE for slots, _ in gone)
