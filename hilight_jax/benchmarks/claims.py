"""Differences between rows of a table of runs with their intervals, and the verdicts that follow from them.

The figure of a row is the mean of its seeds. A difference of two rows has two sources of chance:

    SE^2 = s^2 (1 / n_1 + 1 / n_2) + e_1^2 + e_2^2

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
      worse: The other.
      lower: The better one is the lower one, as of a loss.
    """

    figure: str
    better: str
    worse: str
    lower: bool = False


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
    runs = {row["name"]: row["runs"] for row in table["rows"]}
    figure = comparison.figure
    sides = [runs.get(name, ()) for name in (comparison.better, comparison.worse)]
    better, worse = (_values(side, figure) for side in sides)
    spreads = [_values(of_row, figure) for of_row in runs.values()]
    freedom = sum(len(values) - 1 for values in spreads if values)
    if not better or not worse or not freedom:
        return None
    squares = sum(float(np.sum((np.array(values) - np.mean(values)) ** 2)) for values in spreads if values)
    errors = [_error_over_clips(side, figure) for side in sides]
    variance = squares / freedom * (1 / len(better) + 1 / len(worse)) + sum((error or 0.0) ** 2 for error in errors)
    difference = float(np.mean(better) - np.mean(worse)) * (-1 if comparison.lower else 1)
    reach = float(scipy.stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    means, seeds = (float(np.mean(better)), float(np.mean(worse))), (len(better), len(worse))
    return Difference(*means, difference - reach, difference + reach, seeds, over_clips=None not in errors)


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
