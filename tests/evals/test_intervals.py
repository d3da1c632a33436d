"""Intervals of figures whose questions come in clips."""

import numpy as np
import pytest

from hilight_jax.evals.intervals import bootstrap_interval, influences, mean_interval, mean_of_kinds_interval


def test_the_interval_narrows_with_the_clips():
    few, many = (bootstrap_interval(np.tile([[2.0, 2.0], [2.0, 0.0]], (n, 1))) for n in (5, 500))
    assert few[0] < many[0] < 0.5 < many[1] < few[1]


def test_values_of_one_clip_count_as_one():
    # Ten captions each of four clips: as wide as four values, not as forty.
    hits, clips = np.repeat([1.0, 0.0, 1.0, 0.0], 10), np.repeat([0, 1, 2, 3], 10)
    assert mean_interval(hits, clips) == mean_interval(np.array([1.0, 0.0, 1.0, 0.0]), np.arange(4))
    # Numbers that no value has are no clips.
    assert mean_interval(hits, 7 * clips) == mean_interval(hits, clips)


def test_a_kind_counts_once_however_often_it_is_asked():
    # Of one kind 100 questions, all right, of the other one, wrong, in each of 50 clips.
    questions, hits = np.tile([[100.0, 1.0]], (50, 1)), np.tile([[100.0, 0.0]], (50, 1))
    assert mean_of_kinds_interval(questions, hits) == [0.5, 0.5]


def test_a_draw_without_a_kind_is_the_mean_of_the_others():
    # The second kind is asked, and missed, in one of 20 clips, which a third of the draws leave out.
    questions, hits = np.ones((20, 2)), np.ones((20, 2))
    questions[1:, 1], hits[:, 1] = 0.0, 0.0
    assert mean_of_kinds_interval(questions, hits) == [0.5, 1.0]


def test_influences_are_the_first_order_effect_of_every_clip():
    per_clip = np.array([[4.0, 3.0], [2.0, 0.0], [6.0, 6.0], [0.0, 0.0]])
    found = influences(per_clip)
    assert found.sum() == pytest.approx(0) and found[3] == 0
    # A clip that counts a thousandth more moves the share by a thousandth of its influence.
    for clip in range(4):
        weights = np.where(np.arange(4) == clip, 1.001, 1.0)
        questions, hits = weights @ per_clip
        assert hits / questions - 9 / 12 == pytest.approx(0.001 * found[clip], rel=0.01, abs=1e-9)


def test_the_squares_of_influences_add_up_to_the_error_of_the_bootstrap():
    rng = np.random.default_rng(0)
    questions = rng.integers(1, 9, 400)
    per_clip = np.stack([questions, rng.binomial(questions, rng.uniform(0.2, 0.9, 400))], axis=1).astype(float)
    low, high = bootstrap_interval(per_clip)
    assert 2 * 1.96 * np.sqrt((influences(per_clip) ** 2).sum()) == pytest.approx(high - low, rel=0.08)
