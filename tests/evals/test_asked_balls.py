"""Names of balls out of captions, and patches of 8 px on a frame of 32 x 32 px."""

import numpy as np
import pytest

from hilight_jax.evals.asked_balls import BallNames, patches_on_balls
from hilight_jax.evals.grounding import Grid, Track

GRID = Grid(4, 4, 8)


def caption(*named):
    """A caption of names; each has an object, whose kind is the part before the colon."""
    text, spans = "", []
    for name, thing in named:
        spans.append(
            {"start": len(text), "end": len(text) + len(name), "kind": thing.partition(":")[0], "object": thing}
        )
        text += f"{name}, "
    return {"text": text, "spans": spans}


@pytest.fixture(scope="module")
def names():
    first = caption(("The red ball", "ball:3"), ("the cue ball", "ball:cue"), ("the red cloth", "cloth:red"))
    second = caption(("the white ball", "ball:cue"), ("the red ball", "ball:11"), ("a 9-ball", "ball:9"))
    return BallNames([{"id": "a", "captions": [first, "no spans"]}, {"id": "b", "captions": [second]}, {}])


def test_a_ball_is_found_by_every_name_that_captions_give_it(names):
    assert names("Does the cue ball hit?") == names("is a WHITE BALL there") == {"ball:cue"}
    assert names("Which way does the red ball go?\nThe 9 ball.") == {"ball:3", "ball:11", "ball:9"}


def test_a_name_counts_without_its_last_word(names):
    assert names("Red in view?") == names("Is the red one there?") == {"ball:3", "ball:11"}
    assert names("Is the white one left of the 9?") == {"ball:cue", "ball:9"}


def test_other_things_are_no_balls(names):
    assert names("Is the red cloth new?") == names("How many balls are there?") == names("") == set()


def track(x, y, radius=4.0, visible=1.0):
    return Track(*(np.array(value, float).reshape(-1) for value in (x, y, radius, visible)))


def patches(things, *balls):
    (on,) = patches_on_balls(balls, things, GRID, 1)
    return np.flatnonzero(on).tolist()


def test_patches_near_a_small_balls_centre_lie_on_it():
    """As of pointing: centres of patches at most 6 px away in x and in y."""
    things = {"ball:3": track(20, 12), "ball:9": track(8, 8), "ball:cue": track(12, 25)}
    assert patches(things, "ball:3") == [6]
    assert patches(things, "ball:9") == [0, 1, 4, 5]
    assert patches(things, "ball:cue", "ball:3") == [6, 9, 13]
    assert patches(things, "ball:1") == patches(things) == []


def test_patches_inside_a_large_ball_lie_on_it():
    """Centres 11.3 px away, on the diagonal, lie outside its disc; those 8 px away lie inside."""
    assert patches({"ball:3": track(12, 12, radius=9)}, "ball:3") == [1, 4, 5, 6, 9]


def test_a_ball_that_is_hardly_seen_has_no_patch():
    assert patches({"ball:3": track(20, 12, visible=0.4)}, "ball:3") == []
    assert patches({"ball:3": track(40, 12)}, "ball:3") == []
