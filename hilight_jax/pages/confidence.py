"""The confidence of answers on a report: reliability diagrams as inline SVG, and the calibration error by question."""

from collections.abc import Mapping, Sequence
from typing import Any

from hilight_jax.pages import page
from hilight_jax.pages.page import share, text

_SIZE, _LEFT, _RIGHT, _TOP, _BOTTOM = 340, 44, 12, 12, 40
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Of the circle of a bin that holds every answer; areas are in proportion to the answers.
_LARGEST = 16.0
_SMALLEST = 1.5

_HEADER = ("question", "right", "sure before", "sure", "error before", "error", "if calibrated", "questions")

Bins = Sequence[Mapping[str, float]]


def confidence_section(results: Sequence[Mapping[str, Any]]) -> str:
    """The diagram and the table of every evaluation that has a `calibration`; empty without one."""
    diagrams, parts = [], []
    for result in results:
        if (calibration := result.get("calibration")) is None:
            continue
        whole, temperature = calibration["overall"], f"temperature {calibration['temperature']:.2f}"
        series = {
            f"temperature 1, error {share(whole['error_before'], 3)}": calibration["bins"]["before"],
            f"{temperature}, error {share(whole['error_after'], 3)}": calibration["bins"]["after"],
        }
        diagrams.append(reliability_diagram(f"{result['name']}: are confident answers right?", series))
        rows = [_row(kind.replace("_", " "), group) for kind, group in calibration["types"].items()]
        fitted, measured = (
            f"{calibration[half]['questions']} answers about {calibration[half]['clips']} clips"
            for half in ("fitted_on", "measured_on")
        )
        parts += [
            f"<h3>{text(result['name'])}</h3>",
            page.table(_HEADER, [*rows, _row("all questions", whole)]),
            page.note(f"{temperature.capitalize()} was fitted on {fitted}; all figures are of {measured}."),
        ]
    if not parts:
        return ""
    rules = (
        "The confidence of an answer is its probability: that of all its tokens and of its end. Error: the expected "
        "calibration error over 15 bins of confidence, each bin's distance between mean confidence and share of right "
        "answers, weighted by its answers; before is at temperature 1. If calibrated: the error that as many answers "
        "show by chance when they are right exactly as often as their confidence says. Circles: bins, their areas in "
        "proportion to their answers."
    )
    charts = f'<div class="charts">{"".join(diagrams)}</div>'
    return page.section("How sure it is", charts, *parts, page.note(rules))


def _row(name: str, group: Mapping[str, Any]) -> list[str]:
    after = f"<strong>{share(group['error_after'], 3)}</strong>"
    figures = [share(group[figure], 3) for figure in ("right", "confidence_before", "confidence_after", "error_before")]
    return [text(name), *figures, after, share(group["error_if_calibrated"], 3), str(group["questions"])]


def reliability_diagram(title: str, series: Mapping[str, Bins]) -> str:
    """Draws named bins as circles at (mean confidence, share of right answers); on the dashed line both are equal.

    A bin has 'questions', 'confidence' and 'right', see `evals/calibration.py`; the area of its circle is in proportion
    to its questions.

    Returns:
      A `<figure>`, or an empty string when no series has a bin.
    """
    series = {name: bins for name, bins in series.items() if bins}
    if not series:
        return ""
    parts = []
    for tick in _TICKS:
        x, y = _x(tick), _y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_SIZE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.1f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{_SIZE - _BOTTOM + 16}" text-anchor="middle">{tick:.1f}</text>')
    parts.append(f'<line class="rule" x1="{_x(0):.1f}" y1="{_y(0):.1f}" x2="{_x(1):.1f}" y2="{_y(1):.1f}"/>')
    parts.append(f'<text x="{_x(0.5):.1f}" y="{_SIZE - 6}" text-anchor="middle">confidence of the answer</text>')
    middle = f"{_TOP + 2 - _LEFT + 36:.0f} {_y(0.5):.0f}"
    parts.append(f'<text transform="translate({middle}) rotate(-90)" text-anchor="middle">answers right</text>')
    for i, bins in enumerate(series.values()):
        parts += _line(bins, f"var(--c{i})")
    key = [f'<span><i style="background:var(--c{i})"></i>{text(name)}</span>' for i, name in enumerate(series)]
    key.append("<span>┄ as often right as sure</span>")
    return (
        f'<figure class="square"><figcaption>{text(title)}</figcaption>\n<svg viewBox="0 0 {_SIZE} {_SIZE}" role="img" '
        f'aria-label="{text(title)}">\n'
        + "\n".join(parts)
        + f'\n</svg>\n<div class="key">{"".join(key)}</div></figure>'
    )


def _line(bins: Bins, colour: str) -> list[str]:
    """A line through the bins of one series, and a circle for each with its numbers as a tooltip."""
    places = [(_x(group["confidence"]), _y(group["right"])) for group in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="line" stroke="{colour}" stroke-opacity="0.5" points="{path}"/>']
    total = sum(group["questions"] for group in bins)
    for (x, y), group in zip(places, bins, strict=True):
        radius = max(_SMALLEST, _LARGEST * (group["questions"] / total) ** 0.5)
        words = f"{group['questions']} answers, {group['confidence']:.2f} sure, {group['right']:.2f} right"
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity="0.6">'
        parts.append(f"{circle}<title>{text(words)}</title></circle>")
    return parts


def _x(confidence: float) -> float:
    return _LEFT + confidence * (_SIZE - _LEFT - _RIGHT)


def _y(right: float) -> float:
    return _TOP + (1 - right) * (_SIZE - _TOP - _BOTTOM)
