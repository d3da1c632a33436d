"""Differences between rows of a table of runs with their intervals, and the verdicts that follow from them.

The figure of a row is the mean of its seeds. A difference of two rows has two sources of chance:

    SE^2 = s^2 (1 / n_1 + 1 / n_2) + e_1^2 + e_2^2

The figure of a row may also be compared with a number, such as a cosine with 0; then the terms of the second row are 0.

s is the standard deviation between the seeds of a row, pooled over all rows of the table, because two or three seeds
alone do not show it; n the seeds of either row; e the standard error over the held-out clips, from the width of a 95
% interval, as the mean of those of the seeds. All seeds see the same clips, so e does not shrink with them; both rows
see the same too, which is left out of account, so that the interval is rather too wide. Of a figure without an
interval over clips, such as a loss, e is 0. It reaches t SE to either side of the difference, where t is the 97.5 %
quantile of Student's distribution with the degrees of freedom of s.

A claim says that one row is better than another. It *holds* where the whole interval is above 0, *does not hold*
where all of it is below, and else *cannot be told at this size*. One of several comparisons holds when all do, and
does not when one does not.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from hilight_jax.pages.ablation_table import figure_of

Table = Mapping[str, Any]
_WIDTH = 2 * scipy.stats.norm.ppf(0.975)  # Of a 95 % interval, in standard errors.


class Verdict(enum.StrEnum):
    """Follows from intervals by the rule above."""

    HOLDS = "holds"
    DOES_NOT = "does not hold"
    OPEN = "cannot be told at this size"
    NOT_RUN = "not run"


class Comparison(NamedTuple):
    """A figure of two rows, of which the claim says that one is better.

    Attributes:
      figure: Its name in the runs of the table; ``group/name`` is a figure of a group.
      better: The row that is said to be better.
      worse: The other, or a number.
      lower: The better one is the lower one, as of a loss.
    """

    figure: str
    better: str
    worse: str | float
    lower: bool = False


class Figure(NamedTuple):
    """A figure of a row: the mean of its seeds, the square of its error, and the degrees of freedom of that."""

    mean: float
    variance: float
    seeds: int
    freedom: int
    over_clips: bool = True  # False where no error over clips is known, as of a loss.

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        reach = float(scipy.stats.t.ppf(0.975, self.freedom)) * math.sqrt(self.variance)
        return self.mean - reach, self.mean + reach


class Difference(NamedTuple):
    """The figures of both rows, and the interval of the difference, above 0 where the better one is better."""

    better: float
    worse: float
    low: float
    high: float
    seeds: tuple[int, int]
    over_clips: bool = True  # False where no error over clips is known, as of a loss.

    @property
    def verdict(self) -> Verdict:
        """The verdict of this comparison by itself."""
        if self.low > 0:
            return Verdict.HOLDS
        return Verdict.DOES_NOT if self.high < 0 else Verdict.OPEN


def compare(table: Table, comparison: Comparison) -> Difference | None:
    """The difference that a comparison asks for; None where a row has no run, or no row has two."""
    better = row_figure(table, comparison.better, comparison.figure)
    worse = comparison.worse
    if isinstance(worse, str):
        worse = row_figure(table, worse, comparison.figure)
    else:
        worse = Figure(float(worse), 0.0, 0, better.freedom if better else 0, over_clips=True)
    if better is None or worse is None:
        return None
    difference = (better.mean - worse.mean) * (-1 if comparison.lower else 1)
    reach = float(scipy.stats.t.ppf(0.975, better.freedom)) * math.sqrt(better.variance + worse.variance)
    seeds, over_clips = (better.seeds, worse.seeds), better.over_clips and worse.over_clips
    return Difference(better.mean, worse.mean, difference - reach, difference + reach, seeds, over_clips)


def row_figure(table: Table, name: str, figure: str) -> Figure | None:
    """A figure of a row, with its error; None where the row has no run, or no row of the table has two."""
    runs = {row["name"]: row["runs"] for row in table["rows"]}
    values = _values(runs.get(name, ()), figure)
    spreads = [found for of_row in runs.values() if (found := _values(of_row, figure))]
    freedom = sum(len(found) - 1 for found in spreads)
    if not values or not freedom:
        return None
    pooled = sum(float(np.sum((np.array(found) - np.mean(found)) ** 2)) for found in spreads) / freedom
    error = _error_over_clips(runs[name], figure)
    variance = pooled / len(values) + (error or 0.0) ** 2
    return Figure(float(np.mean(values)), variance, len(values), freedom, over_clips=error is not None)


def verdict(differences: Iterable[Difference | None]) -> Verdict:
    """The verdict of several comparisons together."""
    found = [Verdict.NOT_RUN if difference is None else difference.verdict for difference in differences]
    for first in (Verdict.DOES_NOT, Verdict.NOT_RUN, Verdict.OPEN):
        if first in found:
            return first
    return Verdict.HOLDS


def _values(runs: Sequence[Mapping[str, Any] | None], figure: str) -> list[float]:
    """A figure of every run that has it."""
    return [value for run in runs if run is not None and (value := figure_of(run, figure)) is not None]


def _error_over_clips(runs: Sequence[Mapping[str, Any] | None], figure: str) -> float | None:
    """The standard error over clips, the mean of those of the seeds; None where no interval is known."""
    intervals = [run.get("intervals", {}).get(figure) for run in runs if run is not None]
    widths = [high - low for low, high in filter(None, intervals)]
    return float(np.mean(widths)) / _WIDTH if widths else None
