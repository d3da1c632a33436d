"""The charts of the pages of results, from published tables of runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hilight_jax.experiments.ablations import GRADIENTS
from hilight_jax.experiments.claims import row_figure
from hilight_jax.experiments.results_tables import FIGURES, Found, Tables
from hilight_jax.pages.ablation_table import figure_of
from hilight_jax.pages.chart_files import Band, Interval, band_chart, bar_chart, interval_chart

_SPARC = ("last block, content (setting 2)", "embeddings, content (setting 3)", "every block, content (setting 4)")
_DEMO = "the demo: across clips, one query per object"
_ALONE = ", without word tracks"


def draw_charts(tables: Tables, found: Found) -> dict[str, str]:
    """Draws all of them: SVG by name."""
    losses, connectors = tables["controls"], tables["connectors"]
    sparc = {name: f"SPARC as published, {name}" for name in _SPARC}
    layers = {f"SPARC, {name}": (f"SPARC as published, {_SPARC[0]}", name) for name in _layers(losses)}
    layers |= {f"the demo, {name}": (_DEMO, name) for name in _layers(losses)}
    names = (row["name"] for row in connectors["rows"] if row["name"].endswith(_ALONE))
    alone = {name.removesuffix(_ALONE): name for name in names}
    random_ball = {"a random visible ball": _mean_of(losses, "validation/ball_random_ball")}
    frequent = {"the most frequent answers": _mean_of(connectors, "controls/most_frequent")}
    pointing, retrieval = (_bars(losses, f"validation/{name}") for name in ("ball_pointing", "text_to_video_r1"))
    bars = {
        "pointing": bar_chart("Pointing at the named object ball, 95 %", pointing, random_ball),
        "retrieval": bar_chart("Text to video R@1 of 256, 95 %", retrieval),
        "answers": bar_chart("Answers right, 95 %", _bars(connectors, "right"), frequent),
    }
    curves = {
        "local-loss": ("SPARC's loss in training, by level", _bands(losses, sparc, "within_clip"), 0.0),
        "gradients": ("Cosine of the gradients of both losses, by layer", _layer_bands(losses, layers), None),
        "training-loss": ("Training loss of align", _bands(connectors, alone, "next_token"), None),
    }
    drawn = {name: band_chart(*curve) for name, curve in curves.items() if curve[1]}
    return {"differences": interval_chart("Differences between rows, 95 %", _differences(found))} | bars | drawn


def _differences(found: Found) -> list[Interval]:
    rows = []
    for claim, differences in found:
        for comparison, difference in zip(claim.comparisons, differences, strict=True):
            if difference is not None:
                label = f"{claim.title}: {FIGURES[comparison.figure]}"
                rows.append((label, (difference.low + difference.high) / 2, difference.low, difference.high))
    return rows


def _bars(table: Mapping[str, Any], figure: str) -> list[Interval]:
    """A figure of every row that has it."""
    figures = {row["name"]: row_figure(table, row["name"], figure) for row in table["rows"]}
    return [(name, found.mean, *found.interval) for name, found in figures.items() if found]


def _mean_of(table: Mapping[str, Any], figure: str) -> float:
    """The mean of a figure over all runs of a table."""
    values = (figure_of(run, figure) for row in table["rows"] for run in row["runs"])
    return float(np.mean([value for value in values if value is not None]))


def _bands(table: Mapping[str, Any], rows: Mapping[str, str], curve: str) -> dict[str, Band]:
    """A curve of several rows, by their labels, with a band over the seeds."""
    found = {label: _band(table, name, curve) for label, name in rows.items()}
    return {label: band for label, band in found.items() if band}


def _layer_bands(table: Mapping[str, Any], layers: Mapping[str, tuple[str, str]]) -> dict[str, Band]:
    found = {label: _band(table, row, f"{GRADIENTS}{layer}/cosine") for label, (row, layer) in layers.items()}
    return {label: band for label, band in found.items() if band}


def _layers(table: Mapping[str, Any]) -> list[str]:
    """The layers of which the agreement of gradients is known, those of the video tower."""
    curves = (name for row in table["rows"] for run in row["runs"] for name in run.get("curves", ()))
    names = dict.fromkeys(name.removeprefix(GRADIENTS).removesuffix("/cosine") for name in curves if GRADIENTS in name)
    return [name for name in names if name.startswith("vision/")]


def _band(table: Mapping[str, Any], row: str, curve: str) -> Band:
    """Mean, smallest and largest of the seeds at every step that all of them have."""
    runs = next((found["runs"] for found in table["rows"] if found["name"] == row), ())
    curves = [dict(run["curves"][curve]) for run in runs if curve in run.get("curves", ())]
    steps = sorted(set.intersection(*map(set, curves))) if curves else ()
    points = ((step, [points[step] for points in curves]) for step in steps)
    return [(step, float(np.mean(values)), min(values), max(values)) for step, values in points]
