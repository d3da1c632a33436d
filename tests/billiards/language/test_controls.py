"""Answers that can be given without a look at the clips of demo-v2, or at their motion, over a few hundred of them."""

import collections

import numpy as np
import pytest

from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.language.footage import SEEN
from hilight_jax.billiards.worlds import EDGE

TWO_WAY = ("hit", "left_or_right", "left_of", "in_view", "order", "potted", "collide", "next_potted", "what_if_potted")
COLOURS = {"yellow": 1, "blue": 2, "red": 3, "purple": 4, "orange": 5, "green": 6, "black": 8}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clips():
    return [make_clip(EDGE, "train", number).labels for number in range(240)]


def test_neither_of_two_answers_is_more_frequent(clips):
    counts = collections.defaultdict(collections.Counter)
    for labels in clips:
        for question in labels["questions"]:
            counts[question["type"]][question["accepted"][0]] += 1
    for kind in TWO_WAY:
        assert len(counts[kind]) == 2 and counts[kind].total() >= 40
        spread = 2.6 * np.sqrt(0.25 / counts[kind].total())  # 99 of 100 such samples of a fair coin lie within.
        assert max(counts[kind].values()) / counts[kind].total() < 0.53 + spread, kind


def test_the_ball_nearest_in_the_first_frame_is_seldom_hit_next(clips):
    """A third of them at most: the first frame alone does not tell; where the ball rolls at the end does."""
    first, last = zip(
        *(guesses(labels, q) for labels in clips for q in labels["questions"] if q["type"] == "next"), strict=True
    )
    assert len(first) >= 40
    assert np.mean(first) < 0.4 and np.mean(last) > 0.7


def guesses(labels, question):
    """Returns True, of the first frame and of the last, where the ball nearest to the striker is hit next."""
    balls = {name: track for name, track in labels["objects"].items() if name.startswith("ball:")}
    striker = question["about"].split()[1]
    words = question["accepted"][0].lower().split()[1]
    struck = "ball:cue" if words == "cue" else f"ball:{COLOURS[words]}"

    def nearest(frame):
        x, y = (balls[striker][axis][frame] for axis in "xy")
        others = [name for name, ball in balls.items() if name != striker and ball["visible"][frame] >= SEEN]
        return min(
            others, key=lambda name: np.hypot(balls[name]["x"][frame] - x, balls[name]["y"][frame] - y), default=""
        )

    return nearest(0) == struck, nearest(-1) == struck
