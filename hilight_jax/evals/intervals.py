"""95 % percentile intervals by the bootstrap over clips: questions about one clip are not independent (Efron, 1979)."""

import functools

import numpy as np
from jaxtyping import Float, Int

DRAWS = 1000


def bootstrap_interval(per_clip: Float[np.ndarray, "clips 2"]) -> list[float]:
    """Interval of sum(hits) / sum(questions) over clips drawn with replacement; seeded.

    The columns are questions (at least one) and hits of every clip.
    """
    questions, hits = (_draws(len(per_clip)) @ per_clip).T
    return _interval(hits / questions)


def influences(per_clip: Float[np.ndarray, "clips 2"]) -> Float[np.ndarray, " clips"]:
    """First-order effect of every clip on sum(hits) / sum(questions), by columns as in ``bootstrap_interval``.

    Their sum is 0 and the sum of their squares the squared standard error over clips (infinitesimal jackknife, Efron,
    1982). Of the difference of two figures of the same clips they are the differences.
    """
    questions, hits = per_clip.T
    return (hits - hits.sum() / questions.sum() * questions) / questions.sum()


def mean_interval(values: Float[np.ndarray, " values"], clips: Int[np.ndarray, " values"]) -> list[float]:
    """Interval of the mean of values, such as the hits of captions, of which each belongs to a clip.

    Args:
      values: At least one.
      clips: Numbers of their clips.
    """
    counts, sums = np.bincount(clips), np.bincount(clips, values)
    return bootstrap_interval(np.stack([counts, sums], axis=1)[counts > 0])


def mean_of_kinds_interval(
    questions: Float[np.ndarray, "clips kinds"], hits: Float[np.ndarray, "clips kinds"]
) -> list[float]:
    """Interval of the mean over kinds of the share of hits, every kind counting once.

    A kind of which no clip was drawn is left out of that draw's mean.
    """
    draws = _draws(len(questions))
    asked, right = draws @ questions, draws @ hits
    shares = np.divide(right, asked, out=np.full(asked.shape, np.nan), where=asked > 0)
    return _interval(np.nanmean(shares, axis=1))


@functools.lru_cache(maxsize=4)
def _draws(clips: int) -> Int[np.ndarray, "draws clips"]:
    """Counts of each clip in every draw; a draw has as many clips as there are."""
    return np.random.default_rng(0).multinomial(clips, np.full(clips, 1.0 / clips), size=DRAWS)


def _interval(figures: Float[np.ndarray, " draws"]) -> list[float]:
    return np.quantile(figures, (0.025, 0.975)).tolist()
