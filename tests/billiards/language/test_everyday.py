"""Questions of people who have not seen the clip: without a moment, and of things that may not happen."""

import re

import numpy as np
import pytest

from hilight_jax.billiards.language import everyday
from hilight_jax.billiards.language.answers import right_answers
from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.grammar import expand, fill
from hilight_jax.billiards.language.posed import short_answer
from hilight_jax.billiards.language.templates import SEEN as SEEN_TEMPLATES
from hilight_jax.evals.answer_matching import score
from tests.billiards.pretend import footage, happening, track

CUE, RED, BLUE, GREEN = "ball:cue", "ball:3", "ball:2", "ball:6"
NAMER = Namer(numbers=False, pool=("2", "3", "6"))
POCKET = {"pocket:top-left": track([60.0] * 4)}
CUSHION = {"cushion:left": track([2.0] * 4)}
LEAVES = track([58.0] * 4, visible=[1.0, 1.0, 0.0, 0.0])
# "is cue ball", "show in this clip", "colour has the cloth", two articles, two spaces, a slot that was not filled.
GARBLED = re.compile(r"\bis cue ball|show (?:in this|here)|(?:colour|number) has|the the|any the|  |[{\[]")
COMES = track([70.0] * 4, visible=[0.0, 0.0, 1.0, 1.0])


def shot(happenings=(), places=None, on_table=None, **balls):
    """The cue ball, the red one and the blue one, and others."""
    still = {CUE: track([10.0] * 4), RED: track([30.0] * 4), BLUE: track([58.0] * 4)}
    given = {f"ball:{name.removeprefix('ball')}": ball for name, ball in balls.items()}
    return footage(still | given, happenings, places, on_table)


def posed(ask, clip, count=400):
    """All that different seeds ask: (key, slots, answer), None where they ask nothing."""
    found = [ask(clip, NAMER, np.random.default_rng(seed)) for seed in range(count)]
    return [None if one is None else (one.key, dict(one.slots), one.answer) for one in found]


def share(found, what):
    return sum(map(what, found)) / len(found)


def test_balls_are_counted_at_the_start_at_the_end_and_over_the_clip():
    clip = shot(ball2=LEAVES, ball6=COMES)
    assert {(key, answer) for key, _, answer in filter(None, posed(everyday.count, clip))} == {
        ("count", 3),
        ("count:end", 3),
        ("count:any", 4),
    }


def test_half_a_ball_leaves_the_counts_open_that_it_belongs_to():
    half = track([58.0] * 4, visible=[0.3, 0.0, 0.0, 0.0])
    found = {one and (one[0], one[2]) for one in posed(everyday.count, shot(ball2=half))}
    assert found == {None, ("count:end", 2)}


def test_balls_are_counted_without_a_moment_only_where_all_frames_show_the_same():
    assert ("count:plain", {}, 3) in posed(everyday.count, shot())
    for changing in ({"ball2": LEAVES}, {"ball2": track([58.0] * 4, visible=[1.0, 0.4, 1.0, 1.0])}):
        assert "count:plain" not in {one[0] for one in posed(everyday.count, shot(**changing)) if one}


def test_all_balls_that_come_into_view_are_named_and_scored_one_by_one():
    ((key, answer),) = {(key, answer) for key, _, answer in posed(everyday.balls, shot(ball6=COMES))}
    assert key == "balls:any" and {key for key, *_ in posed(everyday.balls, shot())} == {"balls"}
    truth = short_answer(answer, NAMER)
    assert truth == "The cue ball, the blue ball, the red ball and the green ball."
    assert score("red, green, blue and white", truth, everyday.BALLS) == 1
    assert score("The red ball and the blue one.", truth, everyday.BALLS) == 0.5
    assert score("The red ball and the black ball.", truth, everyday.BALLS) == 0
    assert score("On the blue cloth: the red ball and the green ball.", truth, everyday.BALLS) == 0.5
    assert score("There is no red ball and no cue ball.", truth, everyday.BALLS) == 0
    assert score("I cannot tell the red ball from the cue ball.", truth, everyday.BALLS) == 0


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("I don't see the red ball, the green ball or the cue ball.", 0),
        ("Neither the cue ball nor red nor green.", 0),
        ("No red, green or white ball.", 0),
        ("The cue stick, the red ball and the green ball.", 2),
        ("Not only the red ball but the green ball and the cue ball.", 3),
        ("The cloth is blue. There are the cue ball, red and green.", 3),
        ("There isn't a blue ball; the cue ball, the red ball and the green ball.", 3),
        ("The red one, the green one and the white one, on the blue-green cloth.", 3),
        ("No blue one, but the red one and the green one.", 2),
    ],
)
def test_balls_that_are_denied_and_colours_of_the_table_are_not_named(answer, right):
    truth = "The cue ball, the red ball and the green ball."
    assert score(answer, truth, everyday.BALLS) == pytest.approx(right / 3)
    assert None in posed(everyday.balls, shot(ball2=track([58.0] * 4, visible=0.3)))


def test_a_ball_that_has_gone_is_not_in_view_at_the_end():
    found = posed(everyday.in_view, shot(ball2=LEAVES))
    at_the_end = [(slots["a"], answer) for key, slots, answer in filter(None, found) if key == "in_view:end"]
    assert set(at_the_end) == {(RED, True), (BLUE, False), (GREEN, False)}
    assert 0.35 < share(at_the_end, lambda one: one[1]) < 0.65
    assert ("in_view", {"a": BLUE}, True) in found


def test_a_clip_in_which_nothing_is_potted_is_asked_about_it_now_and_then():
    found = posed(everyday.potted, shot(places=POCKET))
    asked = [one for one in found if one]
    assert 0.06 < len(asked) / len(found) < 0.2 and {answer for *_, answer in asked} == {False}
    assert {key for key, *_ in asked} == {"potted", "potted:any"}
    assert set(posed(everyday.potted, shot())) == {None}  # No pocket is in view.
    pot = shot([happening("drop", BLUE, "pocket:top-left", 1)], POCKET, ball2=LEAVES)
    found = posed(everyday.potted, pot)
    assert 0.03 < share(found, lambda one: one == ("potted:any", {}, True)) < 0.12
    assert 0.48 < share(found, lambda one: one == ("potted", {"a": BLUE}, True)) < 0.62
    of_cue = [answer for key, slots, answer in found if slots == {"a": CUE}]
    assert len(of_cue) < 20 and not any(of_cue)


def test_the_potted_ball_is_asked_for_where_there_is_one():
    drop = happening("drop", BLUE, "pocket:top-left", 1)
    gone = {BLUE: np.array([True, True, False, False])}
    assert {one[2] for one in posed(everyday.potted_ball, shot([drop], POCKET, gone, ball2=LEAVES))} == {BLUE}
    two = [drop, happening("drop", RED, "pocket:top-left", 1)]
    assert set(posed(everyday.potted_ball, shot(two, POCKET))) == {None}
    found = posed(everyday.potted_ball, shot(places=POCKET))
    assert {one and one[2] for one in found} == {None, "none"} and 0.06 < share(found, bool) < 0.2


@pytest.mark.parametrize(
    ("ask", "places", "right", "wrong"),
    [
        (everyday.pocket, POCKET, ("None.", "It is not potted.", "No pocket."), "The top-left pocket."),
        (everyday.cushion, CUSHION, ("None.", "It touches no cushion.", "No cushion."), "The left cushion."),
    ],
)
def test_what_does_not_happen_is_denied_in_several_words(ask, places, right, wrong):
    clip = shot(places=places, ball3=track([20.0, 25.0, 30.0, 40.0]))
    found = [ask(clip, NAMER, np.random.default_rng(seed)) for seed in range(2000)]
    asked = [one for one in found if one]
    assert 0.005 < len(asked) / len(found) < 0.1
    for one in asked:
        accepted = right_answers(one, NAMER)
        assert all(score(answer, accepted[0], one.kind, accepted) == 1 for answer in right)
        assert score(wrong, accepted[0], one.kind, accepted) == 0


def test_only_a_ball_that_rolls_is_asked_for_a_cushion_that_it_does_not_touch():
    clip = shot(places=CUSHION, ball3=track([20.0, 25.0, 30.0, 40.0]))
    assert {one[1]["a"] for one in posed(everyday.cushion, clip, 2000) if one} == {RED}


def test_whether_a_ball_moves_cannot_be_told_from_its_name():
    rolls = track([20.0, 25.0, 30.0, 40.0])
    found = posed(everyday.moves, shot(ballcue=rolls, ball3=rolls, ball6=COMES))
    assert {(slots["a"], answer) for _, slots, answer in found} == {(RED, True), (BLUE, False)}
    assert 0.4 < share(found, lambda one: one[2]) < 0.6
    assert set(posed(everyday.moves, shot(ballcue=rolls))) == {None}


def test_where_a_ball_ends_up_is_asked_of_one_that_rolls_and_rests():
    def keys(ball):
        clip = footage({RED: ball}, size=(80, 80))
        return {one[0] for one in posed(everyday.where, clip) if one and one[2] != "it is not in view"}

    assert "where:to" in keys(track([20.0, 30.0, 40.0, 40.0], 40.0))
    assert "where:to" not in keys(track([20.0, 30.0, 36.0, 40.0], 40.0)) | keys(track([40.0] * 4, 40.0))


def test_the_cloth_has_one_colour_in_several_words():
    clip = footage({RED: track([30.0])}, cloth="green")
    found = next(filter(None, (everyday.cloth(clip, NAMER, np.random.default_rng(seed)) for seed in range(9))))
    answers = right_answers(found, NAMER)
    assert answers[0] == "Green." and {"The cloth is green.", "It is green."} <= set(answers)


@pytest.mark.parametrize("ball", [CUE, RED])
def test_no_wording_is_garbled_by_a_name(ball):
    slots = {"a": ball, "b": BLUE, "k": CUE, "p": "p", "ps": "ps", "q": "q", "qs": "qs"}
    for key, templates in SEEN_TEMPLATES.items():
        for template in templates:
            for wording in expand(template):
                words = fill(wording, slots, NAMER)
                assert not GARBLED.search(words), (key, words)


def test_the_cue_ball_is_looked_for_where_it_is_missing():
    clip = footage({RED: track([30.0] * 4)}, size=(80, 80))
    found = posed(everyday.where, clip)
    assert 0.12 < share(found, lambda one: one is not None and one[1:] == ({"a": CUE}, "it is not in view")) < 0.28
    assert not [one for one in posed(everyday.where, shot()) if one and one[1:] == ({"a": CUE}, "it is not in view")]
