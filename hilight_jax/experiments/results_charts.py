"""The charts of the pages of results, from published tables of runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hilight_jax.experiments import ablations
from hilight_jax.experiments.claims import Verdict, row_interval, values_of
from hilight_jax.experiments.report_claims import FIGURES, POINTING, RETRIEVAL, SPARC_LOSS, TRAINING_LOSS, VIDEO_LAYERS
from hilight_jax.experiments.results_tables import Tables, Tested, letter
from hilight_jax.pages.chart_files import Band, Interval, band_chart, bar_chart, interval_chart

_LEVELS = {
    "after the last block": ablations.SPARC_LAST,
    "at the embeddings": ablations.SPARC_EMBEDDINGS,
    "at every block": ablations.SPARC_EVERY,
}
_AGREEING = {"SPARC": ablations.SPARC_LAST, "the demo": ablations.DEMO_LOSS}
_COLOURS = {Verdict.HOLDS: 1, Verdict.DOES_NOT: -1}
_ON_ANOTHER_SCALE = (SPARC_LOSS, TRAINING_LOSS)


def draw_charts(tables: Tables, tested: Sequence[Tested]) -> dict[str, str]:
    """Draws those charts that have something to show: SVG by name."""
    losses, connectors = tables["controls"], tables["connectors"]
    names = (row["name"] for row in connectors["rows"] if row["name"].endswith(ablations.WITHOUT_TRACKS))
    alone = {name.removesuffix(ablations.WITHOUT_TRACKS): (name, "next_token") for name in names}
    levels = {label: (name, "within_clip") for label, name in _LEVELS.items()}
    cosines = {
        f"{label}, {layer}": (name, f"{ablations.GRADIENTS}vision/{layer}{ablations.COSINE}")
        for label, name in _AGREEING.items()
        for layer in VIDEO_LAYERS
    }
    random_ball = _rule(losses, "validation/ball_random_ball", "a random visible ball")
    frequent = _rule(connectors, "controls/most_frequent", "the most frequent answers")
    rows = {
        "differences": (interval_chart, "Differences between rows, 95 %", _differences(tested)),
        "pointing": (bar_chart, "Pointing at the named object ball, 95 %", _bars(losses, POINTING), random_ball),
        "retrieval": (bar_chart, "Text to video R@1 of 256, 95 %", _bars(losses, RETRIEVAL)),
        "answers": (bar_chart, "Answers right, 95 %", _bars(connectors, "right"), frequent),
        "local-loss": (band_chart, "SPARC's loss in training, by level", _bands(losses, levels), 0.0),
        "gradients": (band_chart, "Cosine of the gradients of both losses, by layer", _bands(losses, cosines)),
        "training-loss": (band_chart, "Training loss of align, without word tracks", _late(_bands(connectors, alone))),
    }
    return {name: draw(title, shown, *more) for name, (draw, title, shown, *more) in rows.items() if shown}


def _differences(tested: Sequence[Tested]) -> list[tuple[str, float, float, float, int]]:
    """All differences of shares and of cosines, under the numbers that the page gives them."""
    rows = []
    for number, (claim, differences) in enumerate(tested, 1):
        for place, (comparison, found) in enumerate(zip(claim.comparisons, differences, strict=True)):
            if found is not None and comparison.figure not in _ON_ANOTHER_SCALE:
                label = f"{claim.title}: {FIGURES[comparison.figure]}, {number}{letter(place)}"
                rows.append((label, found.difference, found.low, found.high, _COLOURS.get(found.verdict, 0)))
    return rows


def _bars(table: Mapping[str, Any], figure: str) -> list[Interval]:
    """A figure of every row that has it."""
    figures = {row["name"]: row_interval(table, row["name"], figure) for row in table["rows"]}
    return [(name, *found) for name, found in figures.items() if found]


def _rule(table: Mapping[str, Any], figure: str, name: str) -> dict[str, float]:
    """The mean of a figure over all runs of a table, under a name; nothing where no run has it."""
    known = [value for row in table["rows"] for value in values_of(row["runs"], figure)]
    return {name: float(np.mean(known))} if known else {}


def _bands(table: Mapping[str, Any], curves: Mapping[str, tuple[str, str]]) -> dict[str, Band]:
    """Curves of rows, ``(row, curve)`` by label, with a band over the seeds; those of one step are left out."""
    found = {label: _band(table, *of) for label, of in curves.items()}
    return {label: band for label, band in found.items() if len(band) > 1}


def _late(bands: Mapping[str, Band]) -> dict[str, Band]:
    """The curves without the first quarter of their steps, beside which nothing else could be seen."""
    last = max((band[-1][0] for band in bands.values()), default=0.0)
    late = {label: [point for point in band if 4 * point[0] >= last] for label, band in bands.items()}
    return {label: band for label, band in late.items() if len(band) > 1}


def _band(table: Mapping[str, Any], row: str, curve: str) -> Band:
    """Mean, smallest and largest of the seeds at every step at which all of them have a finite value."""
    runs = next((found["runs"] for found in table["rows"] if found["name"] == row), ())
    kept = [run["curves"][curve] for run in runs if curve in run.get("curves", ())]
    curves = [{step: value for step, value in points if math.isfinite(value)} for points in kept]
    steps = sorted(set.intersection(*map(set, curves))) if curves else ()
    points = ((step, [points[step] for points in curves]) for step in steps)
    return [(step, float(np.mean(values)), min(values), max(values)) for step, values in points]
