"""Differences between rows of a table of runs with their intervals, and the verdicts that follow from them.

The figure of a row is the mean of its n seeds. It has two sources of chance, the seeds and the held-out clips:

    SE^2 = s^2 / n + e^2

e is the standard error over the clips, from the width of a 95 % interval, as the mean of those of the seeds; a row
without such intervals has the mean of the other rows. All seeds see the same clips, so e does not shrink with them.
Both rows of a difference see the same clips too: where the influence of every clip on both figures is known, the mean
over the seeds of each, the error of the difference is that of the differences of the influences
(``evals/intervals.py``).
Of a figure that is none of clips, such as a training loss, e is 0.

s is the standard deviation between seeds. Two or three seeds alone do not show it, so the variance of a row is moved
toward that of the whole table, as if this had been seen ``PRIOR`` times more (a moderated t-statistic, Smyth, 2004,
doi:10.2202/1544-6115.1027). Of a share p the table's variance is first divided by p (1 - p), since the seeds of a row
near 0 or 1 differ less.

The interval reaches t SE to either side of the difference, where t is the 97.5 % quantile of Student's distribution
with Satterthwaite's degrees of freedom. The figure may also be compared with a number, such as a cosine with 0.

A claim says that one row is better than another, or, with an allowance, that it is not worse by more than that. A
comparison *holds* where the whole interval is above 0 (less the allowance), and *does not hold* where all of it is
below. Of the others it *makes no difference* where the whole interval lies within ``MARGIN`` of 0, and else *cannot be
told at this size*. Several comparisons hold when all do, and do not when one does not or makes no difference.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from hilight_jax.pages.ablation_table import figure_of

Table = Mapping[str, Any]
PRIOR = 4  # Degrees of freedom.
MARGIN = 0.02
_WIDTH = 2 * scipy.stats.norm.ppf(0.975)  # Of a 95 % interval, in standard errors.
_NO_SHARES = ("train", "cosine", "loss")  # What opens the names of figures that are no shares.


class Verdict(enum.StrEnum):
    """Follows from intervals by the rule above."""

    HOLDS = "holds"
    DOES_NOT = "does not hold"
    NO_DIFFERENCE = "makes no difference"
    OPEN = "cannot be told at this size"
    NOT_RUN = "not run"


class Comparison(NamedTuple):
    """A figure of two rows, of which the claim says that one is better.

    Attributes:
      figure: Its name in the runs of the table; ``group/name`` is a figure of a group.
      better: The row that is said to be better.
      worse: The other, or a number.
      lower: The better one is the lower one, as of a loss.
      allowed: By how much it may be worse; 0 says that it is better.
    """

    figure: str
    better: str
    worse: str | float
    lower: bool = False
    allowed: float = 0.0


class Figure(NamedTuple):
    """A figure of a row.

    Attributes:
      mean: Of the seeds.
      between_seeds: s^2 / n.
      over_clips: e^2; None where no row has intervals over clips, as of a loss.
      seeds: n.
      freedom: Degrees of freedom of s.
      influences: Of every clip, the mean of the seeds; None where they are not known.
    """

    mean: float
    between_seeds: float
    over_clips: float | None
    seeds: int
    freedom: float
    influences: np.ndarray | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        reach = _reach([self], self.over_clips or 0.0)
        return self.mean - reach, self.mean + reach


class Difference(NamedTuple):
    """The figures of both rows, and their difference with its interval, above 0 where the better one is better."""

    better: float
    worse: float
    difference: float
    low: float
    high: float
    seeds: tuple[int, int]
    over_clips: bool = True  # False where no error over clips is known.
    allowed: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The verdict of this comparison by itself."""
        if self.low > -self.allowed:
            return Verdict.HOLDS
        if self.high < -self.allowed:
            return Verdict.DOES_NOT
        return Verdict.NO_DIFFERENCE if -MARGIN < self.low and self.high < MARGIN else Verdict.OPEN


def compare(table: Table, comparison: Comparison) -> Difference | None:
    """The difference that a comparison asks for; None where a row has no run, or no row of the table has two."""
    better = row_figure(table, comparison.better, comparison.figure)
    worse = comparison.worse
    worse = row_figure(table, worse, comparison.figure) if isinstance(worse, str) else _number(worse)
    if better is None or worse is None:
        return None
    difference = (better.mean - worse.mean) * (-1 if comparison.lower else 1)
    reach = _reach([better, worse], _difference_over_clips(better, worse))
    interval = (difference, difference - reach, difference + reach)
    known = better.over_clips is not None and worse.over_clips is not None
    return Difference(better.mean, worse.mean, *interval, (better.seeds, worse.seeds), known, comparison.allowed)


def row_figure(table: Table, name: str, figure: str) -> Figure | None:
    """A figure of a row, with its errors; None where the row has no run, or no row of the table has two."""
    runs = {row["name"]: row["runs"] for row in table["rows"]}
    values = _values(runs.get(name, ()), figure)
    spreads = [found for of_row in runs.values() if (found := _values(of_row, figure))]
    freedom = sum(len(found) - 1 for found in spreads)
    if not values or not freedom:
        return None
    is_share = not figure.startswith(_NO_SHARES)
    prior = sum(_squares(found) / _scale(found, is_share) for found in spreads) / freedom * _scale(values, is_share)
    own = len(values) - 1
    variance = (PRIOR * prior + _squares(values)) / (PRIOR + own)
    error = _error_over_clips(runs, name, figure)
    by_clip = _influences(runs[name], figure)
    return Figure(float(np.mean(values)), variance / len(values), error, len(values), PRIOR + own, by_clip)


def verdict(differences: Iterable[Difference | None]) -> Verdict:
    """The verdict of several comparisons together."""
    found = [Verdict.NOT_RUN if difference is None else difference.verdict for difference in differences]
    for first in (Verdict.DOES_NOT, Verdict.NO_DIFFERENCE, Verdict.NOT_RUN, Verdict.OPEN):
        if first in found:
            return first
    return Verdict.HOLDS


def _number(value: float) -> Figure:
    """A number as a figure without error."""
    return Figure(float(value), 0.0, 0.0, 0, math.inf)


def _values(runs: Sequence[Mapping[str, Any] | None], figure: str) -> list[float]:
    """A figure of every run that has it."""
    return [value for run in runs if run is not None and (value := figure_of(run, figure)) is not None]


def _squares(values: Sequence[float]) -> float:
    """The sum of the squares about the mean."""
    return float(np.sum((np.array(values) - np.mean(values)) ** 2))


def _scale(values: Sequence[float], is_share: bool) -> float:
    """The factor p (1 - p) that the variance of a share grows with, at least that of one in a hundred; else 1."""
    mean = float(np.mean(values))
    return max(mean * (1 - mean), 0.01 * 0.99) if is_share else 1.0


def _difference_over_clips(better: Figure, worse: Figure) -> float:
    """The squared error over clips of a difference, of the same clips where their influences are known."""
    one, other = better.influences, worse.influences
    if one is not None and other is not None and len(one) == len(other):
        return float(np.sum((one - other) ** 2))
    return (better.over_clips or 0.0) + (worse.over_clips or 0.0)


def _reach(sides: Sequence[Figure], over_clips: float) -> float:
    """Half of the 95 % interval of a figure or a difference; the error over clips has many degrees of freedom."""
    variance = over_clips + sum(side.between_seeds for side in sides)
    below = sum(side.between_seeds**2 / side.freedom for side in sides)
    freedom = variance**2 / below if below else math.inf
    return float(scipy.stats.t.ppf(0.975, freedom)) * math.sqrt(variance)


def _influences(runs: Sequence[Mapping[str, Any] | None], figure: str) -> np.ndarray | None:
    """The mean influences of the seeds, published in millionths; None unless every run has those of the same clips."""
    found = [run["influences"].get(figure) for run in runs if run is not None and "influences" in run]
    known = [np.array(one) / 1e6 for one in found if one]
    if len(known) < len([run for run in runs if run is not None]) or len({len(one) for one in known}) != 1:
        return None
    return np.mean(known, axis=0)


def _error_over_clips(runs: Mapping[str, Sequence[Mapping[str, Any] | None]], name: str, figure: str) -> float | None:
    """The squared standard error over clips, from the row's intervals or else from those of all rows."""
    for rows in ([runs[name]], runs.values()):
        intervals = [run.get("intervals", {}).get(figure) for of_row in rows for run in of_row if run is not None]
        if widths := [high - low for low, high in filter(None, intervals)]:
            return (float(np.mean(widths)) / _WIDTH) ** 2
    return None
