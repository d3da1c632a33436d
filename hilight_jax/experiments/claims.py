"""Differences between rows of a table of runs with their intervals, and the verdicts that follow from them.

The figure of a row is the mean of its n seeds. It has two sources of chance, the seeds and the held-out clips, and so
has a difference of two rows, a and b:

    SE^2 = s_a^2 / n_a + s_b^2 / n_b + e^2

**Seeds.** Two or three seeds do not show the spread between seeds by themselves. So one variance is estimated from both
rows and, as if it had been seen with at most ``PRIOR`` degrees of freedom, from the other rows of the table (a
moderated t-statistic, Smyth, 2004, doi:10.2202/1544-6115.1027). Rows differ in scale: the variance of a share p goes
with p (1 - p), that of a loss with its square.

**Clips.** All seeds see the same clips, so e does not shrink with them. Both rows see the same clips too: where the
influence of every clip on both figures is known (``evals/intervals.py``), e^2 is the sum over clips of the squares of
their differences, less the part of it that is chance of the seeds and is in s already. Where they are not known, e^2 is
the sum of both rows' own, from the widths of their 95 % intervals; a row without any has the mean of the other rows.
A figure that is not computed over held-out clips, such as a training loss, has e = 0.

The interval reaches t SE to either side of the difference, where t is the 97.5 % quantile of Student's distribution
with Satterthwaite's degrees of freedom. A figure may also be compared with a number, such as a cosine with 0.

A claim says that one row is better than another, or, with an allowance, that it is not worse by more than that. A
comparison *holds* where the whole interval lies above 0, or above minus the allowance; it *does not hold* where the
whole interval lies below that. Otherwise it *cannot be told at this size*. A claim holds when all of its comparisons
do, and does not hold when one of them does not.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from hilight_jax.pages.ablation_table import figure_of

Run = Mapping[str, Any]
Table = Mapping[str, Any]
PRIOR = 4  # Degrees of freedom.
ALLOWED = 0.02  # Of a share that is said to be no worse.
_WIDTH = 2 * scipy.stats.norm.ppf(0.975)  # Of a 95 % interval, in standard errors.
_LOSSES, _COSINES = ("train", "loss"), ("cosine",)  # What opens the names of figures that are no shares.


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
      allowed: By how much it may be worse; 0 says that it is better.
      control: A figure that is subtracted in every run, such as pointing by another word.
    """

    figure: str
    better: str
    worse: str | float
    lower: bool = False
    allowed: float = 0.0
    control: str = ""


class Difference(NamedTuple):
    """The figures of both rows, and their difference with its interval, above 0 where the better one is better.

    Attributes:
      better: Mean of the row that is said to be better.
      worse: Mean of the other, or the number.
      difference: Of both, with its sign turned for losses.
      low: Lower end of its 95 % interval.
      high: Upper end.
      p: Two-sided, of no difference, or of one as large as the allowance.
      seeds: Of both rows; 0 of a number.
      paired: True where the rows are compared clip by clip.
      over_clips: False where no error over clips is known.
      allowed: See ``Comparison``.
    """

    better: float
    worse: float
    difference: float
    low: float
    high: float
    p: float
    seeds: tuple[int, int]
    paired: bool = False
    over_clips: bool = True
    allowed: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The verdict of this comparison by itself."""
        if self.low > -self.allowed:
            return Verdict.HOLDS
        return Verdict.DOES_NOT if self.high < -self.allowed else Verdict.OPEN


def compare(table: Table, comparison: Comparison, prior: float = PRIOR) -> Difference | None:
    """The difference that a comparison asks for; None where a row has no run, or no row of the table has two."""
    rows, figure, control = _by_name(table), comparison.figure, comparison.control
    better, worse = values_of(rows.get(comparison.better, ()), figure, control), comparison.worse
    names = [comparison.better] + ([worse] if isinstance(worse, str) else [])
    other = values_of(rows.get(worse, ()), figure, control) if isinstance(worse, str) else [float(worse)]
    variances = _between_seeds(rows, names, figure, control, prior)
    if not better or not other or variances is None:
        return None
    of_seeds, freedom = variances
    paired = _paired_error([rows[name] for name in names], figure) if not control else None
    single = [_own_error(rows, name, figure) for name in names]
    of_clips = paired if paired is not None else sum(error or 0.0 for error in single)
    difference = float(np.mean(better) - np.mean(other)) * (-1 if comparison.lower else 1)
    error, freedom = _total(of_seeds, freedom, of_clips)
    reach = float(scipy.stats.t.ppf(0.975, freedom)) * error
    return Difference(
        float(np.mean(better)),
        float(np.mean(other)),
        difference,
        difference - reach,
        difference + reach,
        _two_sided(difference + comparison.allowed, error, freedom),
        (len(better), len(other) if isinstance(worse, str) else 0),
        paired is not None and len(names) == 2,
        None not in single,
        comparison.allowed,
    )


def row_interval(table: Table, name: str, figure: str) -> tuple[float, float, float] | None:
    """Mean of a row's figure and the ends of its 95 % interval; None where ``compare`` would be."""
    found = compare(table, Comparison(figure, name, 0.0))
    return None if found is None else (found.difference, found.low, found.high)


def verdict(differences: Iterable[Difference | None]) -> Verdict:
    """The verdict of several comparisons together."""
    found = [Verdict.NOT_RUN if difference is None else difference.verdict for difference in differences]
    for first in (Verdict.DOES_NOT, Verdict.NOT_RUN, Verdict.OPEN):
        if first in found:
            return first
    return Verdict.HOLDS


def told_together(differences: Sequence[Difference | None], level: float = 0.05) -> list[bool]:
    """Marks the differences that are told apart also when all are tested together, by Holm's method (1979)."""
    ranked = sorted((found.p, place) for place, found in enumerate(differences) if found is not None)
    marked = [False] * len(differences)
    for rank, (p, place) in enumerate(ranked):
        if p * (len(ranked) - rank) > level:
            break
        marked[place] = True
    return marked


def values_of(runs: Sequence[Run | None], figure: str, control: str = "") -> list[float]:
    """A figure of every run that has it, less a control where one is named."""
    found = [(figure_of(run, figure), figure_of(run, control) if control else 0.0) for run in runs if run is not None]
    return [value - other for value, other in found if value is not None and other is not None]


def _by_name(table: Table) -> dict[str, Sequence[Run | None]]:
    return {row["name"]: row["runs"] for row in table["rows"]}


def _between_seeds(
    rows: Mapping[str, Sequence[Run | None]], names: Sequence[str], figure: str, control: str, prior: float
) -> tuple[float, float] | None:
    """The sum of s^2 / n over some rows, and its degrees of freedom; None where no row has two seeds."""
    squares: dict[bool, list[float]] = {True: [0.0], False: [0.0]}
    freedom = {True: 0, False: 0}
    shrunk = 0.0
    for name, runs in rows.items():
        scale = _scale(values_of(runs, figure), figure)
        values = np.array(values_of(runs, figure, control))
        if len(values):
            squares[name in names].append(float(np.sum((values - values.mean()) ** 2)) / scale)
            freedom[name in names] += len(values) - 1
            shrunk += scale / len(values) if name in names else 0.0
    of_others = min(prior, freedom[False])
    total = of_others + freedom[True]
    if not total:
        return None
    elsewhere = sum(squares[False]) / freedom[False] if freedom[False] else 0.0
    return (of_others * elsewhere + sum(squares[True])) / total * shrunk, total


def _scale(values: Sequence[float], figure: str) -> float:
    """The factor that the variance between seeds goes with: p (1 - p) of a share, at least that of one in a hundred."""
    mean = float(np.mean(values)) if values else 0.0
    if figure.startswith(_COSINES):
        return 1.0
    return max(mean**2, 1e-12) if figure.startswith(_LOSSES) else max(mean * (1 - mean), 0.01 * 0.99)


def _paired_error(rows: Sequence[Sequence[Run | None]], figure: str) -> float | None:
    """e^2 of one row or of the difference of two, by the influences of the clips; None where they are not known.

    The mean over the seeds of a clip's influence has the chance of the seeds in it, which is estimated and taken out.
    """
    sides = [_influences(runs, figure) for runs in rows]
    known = [side for side in sides if side is not None]
    sources = {run["source"] for runs in rows for run in runs if run is not None and run.get("source")}
    if len(known) < len(sides) or len({side.shape[1] for side in known}) != 1 or len(sources) > 1:
        return None
    means = [side.mean(axis=0) for side in known]
    total = float(np.sum((means[0] - (means[1] if len(means) == 2 else 0.0)) ** 2))
    of_seeds = sum(float(side.var(axis=0, ddof=1).sum()) / len(side) for side in known if len(side) > 1)
    return max(total - of_seeds, 0.0)


def _influences(runs: Sequence[Run | None], figure: str) -> np.ndarray | None:
    """Influences [n, clips] of n seeds, published in millionths; None unless all have those of as many clips."""
    found = [run.get("influences", {}).get(figure) for run in runs if run is not None]
    return np.array(found, float) / 1e6 if all(found) and len({len(one) for one in found}) == 1 else None


def _own_error(rows: Mapping[str, Sequence[Run | None]], name: str, figure: str) -> float | None:
    """The squared standard error over clips, from the row's intervals or else from those of all rows."""
    for some in ([rows[name]], rows.values()):
        intervals = [run.get("intervals", {}).get(figure) for runs in some for run in runs if run is not None]
        if widths := [high - low for low, high in filter(None, intervals)]:
            return (float(np.mean(widths)) / _WIDTH) ** 2
    return None


def _total(of_seeds: float, freedom: float, of_clips: float) -> tuple[float, float]:
    """The standard error of both parts, and Satterthwaite's degrees of freedom; those of the clips are many."""
    total = of_seeds + of_clips
    return math.sqrt(total), freedom * (total / of_seeds) ** 2 if of_seeds else math.inf


def _two_sided(difference: float, error: float, freedom: float) -> float:
    if not error:
        return 0.0 if difference else 1.0
    return float(2 * scipy.stats.t.sf(abs(difference) / error, freedom))
