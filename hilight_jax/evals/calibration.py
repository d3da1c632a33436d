"""Calibration of a chat model's confidence: is an answer that it gives 0.8 right eight times in ten?

The confidence of an answer is its probability under the model: the product of the probabilities of its tokens, the stop
token included, by the softmax of the scores over one temperature. The expected calibration error follows Guo et al.
(arXiv 1706.04599): answers are put into 15 bins of equal width by their confidence, and the distance between a bin's
mean confidence and its share of right answers is averaged over the answers.

The temperature is fitted on half of the clips and the error measured on the other half; a question about two clips
counts with its first, and a talk without a clip as one by itself. It minimises the negative log-likelihood of *right
or wrong*, not of the true answer's tokens: a confidence is read as the chance to be right, and an answer can be right
in other words than the truth's, whose probability the tokens of the truth miss.

A calibrated model has an error above zero too, as a bin of a few answers is rarely right in exactly the expected share:
``error_if_calibrated`` is the mean error of answers drawn to be right as often as their confidence says.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hilight_jax.evals.answer_scores import UNTYPED

NUM_BINS = 15
# Steps of 6 %, so that the best is missed by 3 % at most; 1 is among them.
TEMPERATURES = tuple(2.0 ** (step / 12) for step in range(-36, 37))
_PLAIN = TEMPERATURES.index(1.0)
# A confidence of 0 or 1 that is wrong has an infinite loss.
_SMALLEST = 1e-6
_NUM_DRAWS = 1000


def calibrate(
    right: Sequence[bool],
    log_probs: Float[np.ndarray, "answers temperatures"],
    clusters: Sequence[str],
    kinds: Sequence[str],
) -> dict[str, Any] | None:
    """Fits the temperature on the answers about half of the clips and measures the error on the others.

    Args:
      right: True for answers that are right.
      log_probs: The log-probability of each whole answer at each of ``TEMPERATURES``.
      clusters: The clip, or else the talk, of each answer (`Answered.cluster`); every other one in the order of names
        is for the fit.
      kinds: Kinds of the questions, '' where unknown.

    Returns:
      ``{'temperature', 'fitted_on': N, 'measured_on': N, 'overall': G, 'types': {kind: G}, 'bins': {'before': [...],
      'after': [...]}}``, ready for JSON; None if all answers are of one cluster. N: numbers of 'questions' and 'clips'
      (clusters). G, of the other half: 'questions', the share 'right', the mean confidence and the error 'before'
      (temperature 1) and 'after', and the 'error_if_calibrated' of the confidences after. For the bins see `bins_of`.
    """
    fit_clusters = set(sorted(set(clusters))[::2])
    fit = np.array([cluster in fit_clusters for cluster in clusters], bool)
    if fit.all():
        return None
    truth, scores, names = np.array(right, bool), np.asarray(log_probs, np.float64), np.array(kinds, object)
    best = fit_temperature(truth[fit], scores[fit])
    rest, truth = ~fit, truth[~fit]
    before, after = np.exp(scores[rest, _PLAIN]), np.exp(scores[rest, best])
    types = {kind: names[rest] == kind for kind in dict.fromkeys(names[rest].tolist())}
    return {
        "temperature": TEMPERATURES[best],
        "fitted_on": {"questions": int(fit.sum()), "clips": len(fit_clusters)},
        "measured_on": {"questions": int(rest.sum()), "clips": len(set(clusters)) - len(fit_clusters)},
        "overall": _figures(truth, before, after),
        "types": {kind or UNTYPED: _figures(truth[own], before[own], after[own]) for kind, own in types.items()},
        "bins": {"before": bins_of(truth, before), "after": bins_of(truth, after)},
    }


def fit_temperature(right: Bool[np.ndarray, " answers"], log_probs: Float[np.ndarray, "answers temperatures"]) -> int:
    """Returns the index of the temperature with the smallest negative log-likelihood of right or wrong.

    Answers that are all right, or all wrong, take the first or last temperature.
    """
    confidence = np.clip(np.exp(log_probs), _SMALLEST, 1 - _SMALLEST)
    losses = -np.log(np.where(right[:, None], confidence, 1 - confidence)).mean(axis=0)
    return int(np.argmin(losses))


def expected_calibration_error(right: Bool[np.ndarray, " answers"], confidence: Float[np.ndarray, " answers"]) -> float:
    """The mean over answers of the distance between their bin's confidence and its share of right answers."""
    gaps = np.bincount(_bin(confidence), confidence - right, NUM_BINS)
    return float(np.abs(gaps).sum() / len(right))


def error_if_calibrated(confidence: Float[np.ndarray, " answers"]) -> float:
    """The mean error of as many answers with these confidences that are right as often; the same every time."""
    rng = np.random.default_rng(0)
    draws = (rng.random(len(confidence)) < confidence for _ in range(_NUM_DRAWS))
    return float(np.mean([expected_calibration_error(right, confidence) for right in draws]))


def bins_of(
    right: Bool[np.ndarray, " answers"], confidence: Float[np.ndarray, " answers"]
) -> list[dict[str, float | int]]:
    """The bins that hold answers, by rising confidence: numbers of 'questions', mean 'confidence', share 'right'."""
    numbers = _bin(confidence)
    groups = [numbers == number for number in np.unique(numbers)]
    return [
        {"questions": int(own.sum()), "confidence": float(confidence[own].mean()), "right": float(right[own].mean())}
        for own in groups
    ]


def _bin(confidence: np.ndarray) -> np.ndarray:
    """Numbers of the bins (0, 1/15], (1/15, 2/15], ...; 0 itself is in the first."""
    return np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)


def _figures(right: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    return {
        "questions": len(right),
        "right": float(right.mean()),
        "confidence_before": float(before.mean()),
        "confidence_after": float(after.mean()),
        "error_before": expected_calibration_error(right, before),
        "error_after": expected_calibration_error(right, after),
        "error_if_calibrated": error_if_calibrated(after),
    }
