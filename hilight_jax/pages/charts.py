"""Line charts as inline SVG, in the colours of the page."""

import math
from collections.abc import Mapping, Sequence

from hilight_jax.pages.page import text

_WIDTH, _HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 8, 24
_MAX_POINTS = 300
_COLOURS = 8

Points = Sequence[tuple[float, float]]


def line_chart(
    title: str, series: Mapping[str, Points], rules: Mapping[str, float] | None = None, low: float | None = None
) -> str:
    """Draws named lines over the training step, without non-finite values; lines of many points are thinned.

    The `rules` are dashed horizontal lines, for chance levels; `low` is the lower end of the value axis, by default
    that of the points.

    Returns:
      A `<figure>`, or an empty string when no series has a point.
    """
    series = {name: thinned([p for p in points if math.isfinite(p[1])]) for name, points in series.items()}
    series = {name: points for name, points in series.items() if points}
    rules = rules or {}
    if not series:
        return ""
    steps = [step for points in series.values() for step, _ in points]
    values = [value for points in series.values() for _, value in points] + list(rules.values())
    y_ticks = ticks(min(values) if low is None else low, max(values))
    x_ticks = [t for t in ticks(min(steps), max(steps)) if min(steps) <= t <= max(steps)]
    y0, y1, x0, x1 = y_ticks[0], y_ticks[-1], min(steps), max(max(steps), min(steps) + 1)

    def x(step):
        return _LEFT + (step - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT)

    def y(value):
        return _TOP + (y1 - value) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM)

    def across(kind, value):
        return f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'

    parts = []
    for tick in y_ticks:
        parts.append(across("grid", tick))
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick in x_ticks:
        anchor = "end" if x(tick) > _WIDTH - 24 else "middle"
        parts.append(f'<text x="{x(tick):.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{number(tick)}</text>')
    parts += [across("rule", value) for value in rules.values()]
    for i, (name, points) in enumerate(series.items()):
        colour = f"var(--c{i % _COLOURS})"
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(f'<polyline class="line" stroke="{colour}" points="{path}"><title>{text(name)}</title></polyline>')
        step, value = points[-1]
        parts.append(f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.6" fill="{colour}"/>')
    key = [
        f'<span><i style="background:var(--c{i % _COLOURS})"></i>{text(name)} {number(points[-1][1])}</span>'
        for i, (name, points) in enumerate(series.items())
    ]
    key += [f"<span>┄ {text(name)} {number(value)}</span>" for name, value in rules.items()]
    return (
        f'<figure><figcaption>{text(title)}</figcaption>\n<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{text(title)}">\n'
        + "\n".join(parts)
        + f'\n</svg>\n<div class="key">{"".join(key)}</div></figure>'
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from at most `low` to at least `high`."""
    if high <= low:
        low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    gap = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / gap + 1e-9), math.ceil(high / gap - 1e-9)
    return [round(i * gap, 12) for i in range(first, last + 1)]


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most 300 points: means of equally long runs."""
    if len(points) <= _MAX_POINTS:
        return list(points)
    run = math.ceil(len(points) / _MAX_POINTS)
    runs = (points[i : i + run] for i in range(0, len(points), run))
    return [(sum(p[0] for p in r) / len(r), sum(p[1] for p in r) / len(r)) for r in runs]


def number(value: float) -> str:
    """Three significant digits, thousands as k, small ones as 1e-5."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k"
    if abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"
