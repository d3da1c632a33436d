"""Pointing, overlap and their controls on maps built by hand: a frame of 32 x 32 px, patches of 8 px."""

import numpy as np
import pytest

from hilight_jax.evals import grounding
from hilight_jax.evals.grounding import FIGURES, Grid, Track
from tests.shapes import check_shapes

GRID = Grid(rows=4, columns=4, patch_size=8)
FLAT = np.zeros((1, 16))


def track(x, y, radius=4.0, visible=1.0):
    return Track(*(np.atleast_1d(np.asarray(value, float)) for value in (x, y, radius, visible)))


def peak_at(*patches):
    similarity_map = np.zeros((len(patches), 16))
    similarity_map[np.arange(len(patches)), patches] = 1.0
    return similarity_map


def score(similarity_map, named, balls=(), shuffled=None):
    """Sums of one word that names the ball `named`, among other balls."""
    things = {"ball:named": named} | {f"ball:{number}": ball for number, ball in enumerate(balls)}
    shuffled = np.zeros_like(similarity_map) if shuffled is None else shuffled
    truth = grounding.Truth(things, GRID)
    (sums,) = grounding.score_words(similarity_map[None], shuffled[None], ["ball:named"], truth, "dot")
    return dict(zip(("questions", *FIGURES), sums.tolist(), strict=True))


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (12.0, 12.0, [5]),  # at the centre of row 1, column 1
        (16.0, 12.0, [5, 6]),  # half a patch to the right: both neighbours are 0.5 away
        (16.0, 16.0, [5, 6, 9, 10]),
        (18.0, 12.0, [5, 6]),  # 0.75 patch from column 1: still on it
        (18.1, 12.0, [6]),
        (0.0, 0.0, [0]),
    ],
)
def test_patches_on_a_ball(x, y, expected):
    assert np.flatnonzero(GRID.patches_on(track(x, y))[0]).tolist() == expected


def test_pointing_hits_and_misses():
    assert score(peak_at(5), track(12, 12))["pointing"] == 1.0
    assert score(peak_at(6), track(12, 12))["pointing"] == 0.0
    assert score(peak_at(9), track(12, 12))["pointing"] == 0.0  # one row below


def test_rows_and_columns_are_not_exchanged():
    wide = Grid(rows=2, columns=4, patch_size=8)
    assert np.flatnonzero(wide.patches_on(track(28, 4))[0]).tolist() == [3]
    assert np.flatnonzero(wide.patches_on(track(4, 12))[0]).tolist() == [4]


def test_only_frames_in_which_the_thing_is_seen_are_asked_about():
    named = track([12, 12, -1, 12], [12, 12, 12, 32], [4] * 4, [0.5, 0.49, 1.0, 1.0])
    scores = score(peak_at(5, 5, 0, 0), named)
    assert scores["questions"] == 1.0 and scores["pointing"] == 1.0


def test_a_flat_map_scores_the_area_chance():
    scores = score(FLAT, track(16, 16))
    assert scores["pointing"] == scores["area_chance"] == 4 / 16


def test_a_map_of_nan_points_nowhere():
    assert grounding.peak_share(np.full((1, 16), np.nan), np.ones((1, 16), bool)).tolist() == [0.0]


def test_any_ball_counts_peaks_on_other_visible_balls_only():
    red, blue, hidden = track(12, 12), track(28, 28), track(4, 28, visible=0.1)
    on_blue = score(peak_at(15), red, [blue, hidden])
    assert on_blue["pointing"] == 0.0 and on_blue["any_ball"] == 1.0
    on_hidden = score(peak_at(12), red, [blue, hidden])
    assert on_hidden["any_ball"] == 0.0


def test_random_ball_is_what_finding_some_ball_would_score():
    red, blue, hidden = track(12, 12), track(28, 28), track(4, 28, visible=0.1)
    assert score(FLAT, red, [blue, hidden])["random_ball"] == 1 / 2
    # A neighbour on the same four patches helps by the patches that it shares: here half of its two.
    assert score(FLAT, red, [track(16, 12)])["random_ball"] == (1 + 1 / 2) / 2
    assert score(FLAT, red)["random_ball"] == 1.0


def test_without_a_visible_ball_the_ball_controls_are_zero():
    truth = grounding.Truth({"pocket:left": track(12, 12), "ball:1": track(12, 12, visible=0.0)}, GRID)
    assert truth.random_ball("pocket:left").tolist() == [0.0] and not truth.on_any_ball.any()
    assert not grounding.Truth({"pocket:left": track(12, 12)}, GRID).on_any_ball.any()


def test_the_shuffled_word_is_judged_by_the_named_things_place():
    scores = score(peak_at(5), track(12, 12), shuffled=peak_at(15))
    assert scores["pointing"] == 1.0 and scores["shuffled_word"] == 0.0
    assert scores["soft_iou"] == pytest.approx(1.0) and scores["soft_iou_shuffled"] == 0.0  # radius 4: one patch


def test_soft_iou_of_two_distributions():
    weights = np.array([[0.5, 0.5, 0.0, 0.0]])
    assert grounding.soft_iou(weights, np.array([[0.0, 0.75, 0.25, 0.0]])) == pytest.approx(0.5 / 1.5)
    assert grounding.soft_iou(weights, weights) == pytest.approx(1.0)
    assert grounding.soft_iou(weights, np.zeros((1, 4))) == 0.0
    assert score(FLAT, track(12, 12))["soft_iou_uniform"] == pytest.approx((1 / 16) / (1 + 15 / 16))


def test_a_disc_is_shared_out_by_area_over_what_the_image_shows():
    np.testing.assert_allclose(GRID.shares(track(16, 16))[0, [5, 6, 9, 10]], [0.25] * 4)
    np.testing.assert_allclose(GRID.shares(track(0, 4))[0, 0], 1.0)  # the left half is outside
    assert not GRID.shares(track(12, 12, visible=0.0)).any()


def test_a_word_is_shuffled_with_a_word_for_another_thing_of_its_kind():
    objects = ["ball:1", "ball:1", "ball:2", "ball:3", "pocket:left", "pocket:right", "cue"]
    kinds = ["ball"] * 4 + ["pocket"] * 2 + ["cue"]
    for seed in range(20):
        chosen = grounding.other_words(objects, kinds, seed)
        assert all(objects[word] != objects[other] for word, other in enumerate(chosen))
        assert all(kinds[word] == kinds[other] for word, other in enumerate(chosen[:6]))


def test_a_lone_thing_is_its_own_partner():
    assert grounding.other_words(["ball:1", "ball:1"], ["ball", "ball"]).tolist() == [0, 1]


def test_averages_are_over_questions_not_over_words():
    scores = np.zeros((3, 1 + len(FIGURES)))
    scores[:, 0], scores[:, 1] = [4, 1, 0], [4, 0, 0]  # three words: 4 of 4, 0 of 1, never seen
    summary = grounding.summarise_grounding(scores, [0, 1, 1], ["ball"] * 3, ["ball:1", "ball:2", "ball:3"])
    ball = summary["classes"]["ball"]
    assert (ball["pointing"], ball["questions"], ball["words"]) == (0.8, 5, 2)
    assert ball["interval"][0] <= 0.8 <= ball["interval"][1]
    assert set(summary["objects"]) == {"ball:1", "ball:2"}


def test_data_without_words_gives_an_empty_summary():
    assert grounding.summarise_grounding(np.zeros((0, 9)), [], [], []) == {"classes": {}, "objects": {}}


def test_shapes_are_as_annotated():
    truth = grounding.Truth({"ball:1": track(12, 12)}, GRID)
    check_shapes(grounding.score_words)(FLAT[None], FLAT[None], ["ball:1"], truth, "cosine")
    check_shapes(grounding.peak_share)(FLAT, FLAT > 0)
