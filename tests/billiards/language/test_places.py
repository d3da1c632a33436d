import numpy as np
import pytest

from hilight_jax.billiards.language.answers import in_place, right_answers
from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.places import place, point_at, where
from tests.billiards.pretend import footage, track

CUE, RED = "ball:cue", "ball:3"
NAMER = Namer(numbers=False, pool=("2", "3"))


def clip(x, y, **changes):
    return footage({CUE: track([50.0, 50.0], 50.0), RED: track(x, y)} | changes, size=(100, 200))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (10, 20, "top left"), (50, 20, "top"), (90, 20, "top right"),
        (10, 100, "left"), (50, 100, "middle"), (90, 100, "right"),
        (10, 190, "bottom left"), (50, 190, "bottom"), (99, 199, "bottom right"),
        (34, 100, None), (50, 131, None),
    ],
)  # fmt: skip
def test_a_place_is_a_cell_of_nine_and_none_at_their_borders(x, y, words):
    assert place(clip(x, y), RED, 0) == words


def test_places_in_sentences():
    assert [in_place(words) for words in ("top left", "left", "middle", "bottom")] == [
        "at the top left", "on the left", "in the middle", "at the bottom",
    ]  # fmt: skip


def test_a_ball_is_asked_for_at_the_start_or_the_end_and_sometimes_one_that_is_not_there():
    shot = clip([10.0, 90.0], [20.0, 190.0])
    found = [where(shot, NAMER, np.random.default_rng(seed)) for seed in range(300)]
    told = {(posed.slots["a"], posed.variant, posed.answer) for posed in found}
    assert told == {
        (RED, "start", "top left"), (RED, "end", "bottom right"),
        (CUE, "start", "top"), (CUE, "end", "top"),
        ("ball:2", "start", "it is not in view"), ("ball:2", "end", "it is not in view"),
    }  # fmt: skip
    absent = sum(posed.slots["a"] == "ball:2" for posed in found) / len(found)
    assert 0.08 < absent < 0.24


def test_a_point_is_in_percent_of_the_picture_and_of_the_clip():
    shot = clip([10.0, 90.0], [20.0, 190.0], **{CUE: track([50.0] * 2, visible=0.0)})
    found = {point_at(shot, NAMER, np.random.default_rng(seed)).answer for seed in range(20)}
    assert found == {
        '<point x="10" y="10" t="0">the red ball</point>',
        '<point x="90" y="95" t="100">the red ball</point>',
    }


def test_a_place_is_right_in_several_words():
    posed = where(
        clip([10.0, 10.0], [20.0, 20.0], **{CUE: track([50.0] * 2, visible=0.0)}),
        Namer(False, ("3",)),
        np.random.default_rng(0),
    )
    answers = right_answers(posed, NAMER)
    assert answers[0] == "Top left." and "At the top left." in answers
    assert answers[1] in (
        "The red ball is at the top left at the start.",
        "The red ball is at the top left at the end.",
    )
