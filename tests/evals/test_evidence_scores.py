"""Evidence on two frames of 2 x 2 patches, written out."""

import json

import numpy as np
import pytest

from hilight_jax.evals.evidence_scores import (
    ScoredEvidence,
    hide_patches,
    patches_to_hide,
    share_on,
    summarise_evidence,
)
from hilight_jax.evals.evidence_table import evidence_table

MAPS = np.array([[0.1, 0.4, 0.0, 0.0], [0.0, 0.0, 0.2, 0.1]])
ON = np.array([[False, True, False, False], [False, False, False, True]])


def test_the_share_is_that_of_the_patches_on_the_balls():
    assert share_on(MAPS, ON) == pytest.approx(0.5 / 0.8)
    assert share_on(10 * MAPS, ON) == pytest.approx(0.5 / 0.8)
    assert share_on(0 * MAPS, ON) == 0


def test_a_hidden_patch_has_the_mean_colour_of_its_frame():
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    frames[0, :2, 2:] = 80, 40, 0  # a quarter of the frame
    frames[1] = 7
    hidden = hide_patches(frames, ON, patch_size=2)
    expected = frames.copy()
    expected[0, :2, 2:] = 20, 10, 0
    np.testing.assert_array_equal(hidden, expected)
    assert hidden.dtype == np.uint8 and frames[0, 0, 2, 0] == 80


def test_the_strongest_patches_of_every_frame_are_hidden_and_as_many_of_the_controls():
    maps, on, others = np.zeros((2, 16)), np.zeros((2, 16), bool), np.zeros((2, 16), bool)
    maps[0, [3, 5, 7, 8, 9]] = 0.2, 0.5, 0.3, 0.4, 0.1
    on[0, :5], others[1, 10:13] = True, True
    ways = patches_to_hide(maps, on, others, np.random.default_rng(0))
    assert list(ways) == ["strongest", "random", "other_balls"]
    assert all((way.sum(1) == 5).all() for way in ways.values())  # five lie on the ball in frame 0
    assert np.flatnonzero(ways["strongest"][0]).tolist() == [3, 5, 7, 8, 9]
    assert np.flatnonzero(ways["strongest"][1]).tolist() == [0, 1, 2, 3, 4]  # no evidence: the first
    assert ways["other_balls"][1, 10:13].all() and not (ways["other_balls"] & on).any()
    again = patches_to_hide(maps, on, others, np.random.default_rng(0))
    assert all((ways[name] == again[name]).all() for name in ways)


def test_at_least_four_patches_of_a_frame_are_hidden_and_at_most_all():
    few = np.zeros((1, 9), bool)
    few[0, 4] = True
    assert patches_to_hide(few.astype(float), few, ~few, np.random.default_rng(0))["strongest"].sum() == 4
    assert patches_to_hide(MAPS, ON, ~ON, np.random.default_rng(0))["random"].all()


def scored(kind, clip, share, strongest, random, other_clip=0.1):
    changed = {"strongest": strongest, "random": random, "other_balls": False}
    return ScoredEvidence(kind, clip, share, 0.05, other_clip, 4, changed)


RESULT = {
    **summarise_evidence(
        [
            scored("hit", "a", 0.9, True, True),
            scored("hit", "b", 0.7, True, False, None),
            scored("in_view", "b", 0.5, True, False, 0.3),
        ]
    ),
    "clips": 2,
    "skipped": [],
    "per_kind": 2,
}


def test_figures_are_means_over_questions_and_the_ratio_is_of_sums():
    whole, hit, in_view = RESULT["overall"], *RESULT["types"].values()
    assert list(RESULT["types"]) == ["hit", "in_view"]
    assert [whole[name] for name in ("questions", "share", "area", "other_clip")] == pytest.approx([3, 0.7, 0.05, 0.2])
    assert [whole[name] for name in ("changed", "changed_random", "ratio")] == pytest.approx([1, 1 / 3, 3])
    assert hit["ratio"] == 2 and hit["changed_other_balls"] == 0 and hit["hidden"] == 4
    assert in_view["ratio"] is None and in_view["ratio_interval"] == [None, None]


def test_intervals_are_those_of_clips():
    """Clips a and b: the mean is 0.9 of a alone, 0.6 of b alone; clip b alone has no change at random."""
    assert RESULT["overall"]["share_interval"] == pytest.approx([0.6, 0.9])
    assert RESULT["types"]["hit"]["share_interval"] == pytest.approx([0.7, 0.9])
    low, high = RESULT["overall"]["ratio_interval"]
    assert low == pytest.approx(1) and high is None
    json.dumps(RESULT, allow_nan=False)


def test_the_table_has_a_row_for_each_kind_and_dashes_for_what_is_not_known():
    table = evidence_table({**RESULT, "skipped": ["x#1: it is empty."]})
    rows = {line[:24].strip(): line[24:].split() for line in table.splitlines()}
    assert rows["hit"] == ["0.800", "0.050", "0.100", "1.000", "0.500", "0.000", "2.0", "2"]
    assert rows["in view"] == ["0.500", "0.050", "0.300", "1.000", "0.000", "0.000", "-", "1"]
    assert rows["all questions"][-2:] == ["3.0", "3"]
    assert (
        "on balls 0.600 to 0.900, ratio 1.0 to -" in table
        and "left out: 1 questions, such as x#1: it is empty" in table
    )
    assert "4.0 of a frame in the mean" in table and all(len(line) <= 120 for line in table.splitlines())
