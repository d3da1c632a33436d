"""Errors of places and the threshold of what is seen, on maps built by hand: a frame of 32 x 32 px, patches of 8 px."""

import numpy as np
import pytest

from hilight_jax.evals.grounding import Grid, Track
from hilight_jax.evals.places import PlaceScorer, fit_threshold

GRID = Grid(rows=4, columns=4, patch_size=8)


def track(x, y, radius=3.0, visible=1.0):
    return Track(*(np.atleast_1d(np.asarray(value, float)) for value in (x, y, radius, visible)))


def peak(strength, *patches):
    """One frame with that strength on some patches and 0 on the others."""
    found = np.zeros((1, 16))
    found[0, list(patches)] = strength
    return found


def test_the_error_is_the_distance_to_the_centre_in_pixels():
    scorer = PlaceScorer(GRID)
    # On two patches of row 1: the place is (16, 12), the best patch's centre (12, 12).
    maps = np.stack([peak(0.8, 5, 6), peak(0.1, 0)])
    things = {"ball:1": track(16, 14), "ball:cue": track(4, 10)}
    scorer.add(0, maps, [("ball", "ball:1"), ("cue_ball", "ball:cue")], things)
    scorer.add(1, maps[:1], [("ball", "ball:1")], things)
    scorer.add_absent(0, maps[1:], [("ball", "ball:9")], things)
    figures = scorer.summary()["classes"]
    assert figures["ball"] == {
        "median_error": pytest.approx(2),
        "ninth_decile": pytest.approx(2),
        "patch_centre": pytest.approx(20**0.5),
        "on_thing": 1.0,
        "frames": 2,
    }
    assert figures["cue_ball"]["median_error"] == pytest.approx(6) and figures["cue_ball"]["on_thing"] == 0


def test_what_is_seen_is_told_from_what_is_not_on_the_other_clips():
    scorer = PlaceScorer(GRID)
    things = {"ball:1": track([12, 12, 12], [12] * 3, [3] * 3, [1, 0, 0.2])}
    of_frames = [peak(value, 5)[0] for value in (0.6, 0.2, 0.4)]  # Seen, hidden, left out.
    for clip in range(4):
        scorer.add(clip, np.array([of_frames]), [("ball", "ball:1")], things)
    other = np.array([[peak(0.5, 3)[0]] * 3])
    scorer.add_absent(1, other, [("ball", "ball:7")], things)  # Not in the clip: three times no.
    scorer.add_absent(1, other, [("ball", "ball:1")], things)  # In the clip, and hidden in one frame.
    scorer.add_absent(1, other, [("cue_ball", "ball:cue")], things)
    found = scorer.summary()
    assert found["threshold"] == pytest.approx(0.4)
    assert (found["fitted_on"], found["measured_on"]) == (4, 8)
    assert found["precision"] == 2 / 6 and found["recall"] == 1
    assert found["false_alarms"] == 4 / 6 and found["share_seen"] == 2 / 8


def test_the_cue_ball_does_not_move_the_threshold():
    scorer = PlaceScorer(GRID)
    things = {"ball:cue": track(12, 12)}
    for clip in range(2):
        scorer.add(clip, peak(0.9, 5)[None], [("cue_ball", "ball:cue")], things)
    assert scorer.summary() is None


def test_without_words_there_are_no_places():
    assert PlaceScorer(GRID).summary() is None


@pytest.mark.parametrize(
    ("strengths", "seen", "threshold"),
    [
        ([0.1, 0.2, 0.6, 0.8], [0, 0, 1, 1], 0.4),
        ([0.8, 0.1, 0.6, 0.2], [1, 0, 1, 0], 0.4),  # In any order.
        ([0.1, 0.3, 0.5, 0.7], [0, 1, 0, 1], 0.2),  # Of two equally good ones the lowest.
        ([0.3, 0.3, 0.7], [0, 1, 1], 0.5),  # Never between two that are equal.
    ],
)
def test_the_threshold_lies_midway_between_two_strengths(strengths, seen, threshold):
    assert fit_threshold(np.array(strengths), np.array(seen, bool)) == pytest.approx(threshold)
