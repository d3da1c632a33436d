"""The calibration error of answers that can be counted by hand, and temperatures that are known."""

import json
import math

import numpy as np
import pytest

from hilight_jax.evals.calibration import (
    TEMPERATURES,
    bins_of,
    calibrate,
    error_if_calibrated,
    expected_calibration_error,
    fit_temperature,
)


def test_the_error_is_the_mean_distance_between_confidence_and_right_answers():
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.3])
    right = np.array([True, True, False, False, False])
    # Four answers are 0.9 sure and half of them right, one is 0.3 sure and wrong.
    assert expected_calibration_error(right, confidence) == pytest.approx((4 * 0.4 + 1 * 0.3) / 5)
    assert bins_of(right, confidence) == [
        {"questions": 1, "confidence": pytest.approx(0.3), "right": 0.0},
        {"questions": 4, "confidence": pytest.approx(0.9), "right": 0.5},
    ]


def test_within_a_bin_distances_cancel_and_between_bins_they_do_not():
    right = np.array([True, False])
    assert expected_calibration_error(right, np.array([0.5, 0.5])) == 0
    assert expected_calibration_error(right, np.array([0.52, 0.48])) == pytest.approx(0)  # Both in (7/15, 8/15].
    assert expected_calibration_error(right, np.array([0.55, 0.45])) == pytest.approx(0.45)


def test_a_bin_ends_with_its_upper_bound_and_none_and_certain_have_one():
    groups = bins_of(np.zeros(5, bool), np.array([0.0, 1 / 15, 1 / 15 + 1e-9, 14 / 15 + 1e-9, 1.0]))
    assert [group["questions"] for group in groups] == [2, 1, 2]


def test_the_error_of_calibrated_answers_shrinks_as_they_get_more():
    few, many = (error_if_calibrated(np.full(count, 0.5)) for count in (25, 2500))
    # The mean distance of a share of n fair coins from a half: sqrt(2 / pi) * 0.5 / sqrt(n).
    assert few == pytest.approx(math.sqrt(2 / math.pi) * 0.5 / 5, rel=0.1)
    assert many == pytest.approx(few / 10, rel=0.15)
    assert error_if_calibrated(np.ones(9)) == 0


def answers(scores, seed):
    """Log-probabilities of the better of two tokens at every temperature, and whether it is right.

    It is right as often as a softmax of the scores at temperature 2 says; the model's own scores are twice as far apart
    as they should be.
    """
    scores = np.asarray(scores, np.float64)
    log_probs = -np.log1p(np.exp(-scores[:, None] / np.array(TEMPERATURES)))
    return np.random.default_rng(seed).random(len(scores)) < 1 / (1 + np.exp(-scores / 2)), log_probs


def test_the_temperature_that_made_the_answers_is_found():
    right, log_probs = answers(np.random.default_rng(0).uniform(0, 8, 20_000), seed=1)
    assert TEMPERATURES[fit_temperature(right, log_probs)] == pytest.approx(2.0, rel=0.07)


def test_three_of_four_right_need_a_confidence_of_three_quarters():
    log_probs = -np.log1p(np.exp(-2.0 / np.array(TEMPERATURES)))[None].repeat(4, 0)
    best = fit_temperature(np.array([True, True, True, False]), log_probs)
    assert TEMPERATURES[best] == pytest.approx(2 / math.log(3), rel=0.03)  # The nearest step.


def test_answers_all_right_or_all_wrong_take_an_end():
    _, log_probs = answers([1.0, 2.0], seed=0)
    assert fit_temperature(np.ones(2, bool), log_probs) == 0
    assert fit_temperature(np.zeros(2, bool), log_probs) == len(TEMPERATURES) - 1


def test_certain_answers_that_are_wrong_have_a_finite_loss():
    log_probs = np.zeros((4, len(TEMPERATURES)))
    log_probs[:, -1] = math.log(0.5)
    assert fit_temperature(np.array([True, True, False, False]), log_probs) == len(TEMPERATURES) - 1


def test_the_error_is_measured_on_clips_that_the_temperature_was_not_fitted_on():
    right, log_probs = answers(np.random.default_rng(0).uniform(0, 8, 4000), seed=1)
    clips, kinds = [f"clip {i // 4:04}" for i in range(4000)], ["hit", "", "hit", ""] * 1000
    # On every other clip the answers are all wrong, which no temperature mends.
    other = np.arange(4000) // 4 % 2 == 1
    result = calibrate(right & ~other, log_probs, clips, kinds)
    assert result["temperature"] == pytest.approx(2.0, rel=0.1)
    assert result["fitted_on"] == result["measured_on"] == {"questions": 2000, "clips": 500}
    assert result["overall"]["right"] == 0 and result["overall"]["error_after"] > 0.7
    assert json.loads(json.dumps(result)) == result


def test_a_fitted_temperature_takes_the_error_near_that_of_a_calibrated_model():
    right, log_probs = answers(np.random.default_rng(0).uniform(0, 8, 8000), seed=1)
    clips, kinds = [f"clip {i // 4:04}" for i in range(8000)], ["hit", "", "count", ""] * 2000
    result = calibrate(right, log_probs, clips, kinds)
    whole = result["overall"]
    assert whole["error_before"] > 0.08 and whole["error_after"] < 2 * whole["error_if_calibrated"] < 0.04
    assert whole["confidence_after"] == pytest.approx(whole["right"], abs=0.02)
    assert list(result["types"]) == ["hit", "all questions", "count"]
    assert [group["questions"] for group in result["types"].values()] == [1000, 2000, 1000]
    assert sum(group["questions"] for group in result["bins"]["after"]) == whole["questions"] == 4000


def test_one_clip_has_no_other_half():
    _, log_probs = answers([1.0, 2.0], seed=0)
    assert calibrate([True, False], log_probs, ["a", "a"], ["", ""]) is None
