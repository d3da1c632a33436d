"""Charts as SVG files, legible on light and on dark ground: intervals, bars and curves with bands."""

from collections.abc import Iterable, Mapping, Sequence

from hilight_jax.pages.charts import number, ticks
from hilight_jax.pages.page import text

_LABELS, _RIGHT, _LINE = 400, 740, 22  # Width of the labels, right end of the axis, height of a row.
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 320, 50, 10, 28  # Of a chart of curves, and its margins.
_KEY_LINE, _KEY_COLUMNS = 18, 2
_GREY, _FAINT = "#6b7280", "#9ca3af55"
_BETTER, _WORSE = "#0d9488", "#dc2626"
_COLOURS = ("#0d9488", "#d97706", "#4f46e5", "#dc2626", "#0284c7", "#65a30d", "#c026d3", "#6b7280")

Interval = tuple[str, float, float, float]  # Label, value, lower and upper end.
Band = Sequence[tuple[float, float, float, float]]  # Step, value, lower and upper end.


def interval_chart(title: str, rows: Sequence[Interval]) -> str:
    """Draws a difference with its interval in each row, coloured where the interval is above or below 0.

    Returns:
      An SVG document, in which ``title`` is read to those who cannot see it.
    """
    marks = ticks(min([0.0, *(low for _, _, low, _ in rows)]), max([0.0, *(high for *_, high in rows)]))
    parts = []
    for place, (_, value, low, high) in enumerate(rows):
        y = _LINE * place + 16
        colour = _BETTER if low > 0 else _WORSE if high < 0 else _GREY
        parts += [
            _whisker(marks, y, low, high, colour),
            f'<circle cx="{_x(marks, value)}" cy="{y}" r="4" fill="{colour}"/>',
        ]
    return _rows(title, [label for label, *_ in rows], marks, parts)


def bar_chart(title: str, rows: Sequence[Interval], rules: Mapping[str, float] | None = None) -> str:
    """Draws a bar from 0 with an interval in each row.

    Args:
      title: Read to those who cannot see it.
      rows: What to draw.
      rules: Dashed lines, such as a level of chance, by name.
    """
    rules = rules or {}
    ends = [0.0, *rules.values(), *(end for _, _, *both in rows for end in both)]
    marks = ticks(min(ends), max(ends))
    bottom, parts = _LINE * len(rows) + 8, []
    for place, (_, value, low, high) in enumerate(rows):
        y = _LINE * place + 16
        left, right = sorted((float(_x(marks, 0.0)), float(_x(marks, value))))
        parts.append(
            f'<rect x="{left}" y="{y - 7}" width="{right - left:.1f}" height="14" fill="{_BETTER}" opacity="0.55"/>'
        )
        parts.append(_whisker(marks, y, low, high, _GREY))
    for name, value in rules.items():
        line = f'x1="{_x(marks, value)}" x2="{_x(marks, value)}" y1="4" y2="{bottom}"'
        parts.append(f'<line {line} stroke="{_WORSE}" stroke-dasharray="4 3"><title>{text(name)}</title></line>')
    return _rows(title, [label for label, *_ in rows], marks, parts)


def band_chart(title: str, series: Mapping[str, Band], low: float | None = None) -> str:
    """Draws named curves over the training step, each with a band from the lowest to the highest seed.

    Args:
      title: Read to those who cannot see it.
      series: At least one curve, of at least two points each.
      low: Lower end of the value axis, by default that of the bands.
    """
    steps = [point[0] for band in series.values() for point in band]
    bottoms = [point[2] for band in series.values() for point in band]
    marks = ticks(min(bottoms) if low is None else low, max(point[3] for band in series.values() for point in band))
    first, last = min(steps), max(steps)

    def x(step: float) -> float:
        return _LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - 14)

    def y(value: float) -> float:
        return _TOP + (marks[-1] - value) / (marks[-1] - marks[0]) * (_HEIGHT - _TOP - _BOTTOM)

    def path(points: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{x(step):.1f},{y(max(value, marks[0])):.1f}" for step, value in points)

    parts = []
    for mark in marks:
        across = f'x1="{_LEFT}" x2="{_WIDTH - 14}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"'
        parts.append(f'<line {across} stroke="{_GREY if mark == 0 else _FAINT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{number(mark)}</text>')
    for mark in ticks(first, last):
        if first <= mark <= last:
            parts.append(f'<text x="{x(mark):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{number(mark)}</text>')
    for place, (name, band) in enumerate(series.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        around = [(step, high) for step, _, _, high in band] + [(step, below) for step, _, below, _ in reversed(band)]
        parts.append(f'<polygon points="{path(around)}" fill="{colour}" opacity="0.18"/>')
        line = path((step, value) for step, value, _, _ in band)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        column, row = place % _KEY_COLUMNS, place // _KEY_COLUMNS
        left, top = _LEFT + column * (_WIDTH - _LEFT) // _KEY_COLUMNS, _HEIGHT + 4 + row * _KEY_LINE
        parts.append(f'<rect x="{left}" y="{top}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 16}" y="{top + 9}">{text(name)}, at the end {number(band[-1][1])}</text>')
    height = _HEIGHT + 8 + _KEY_LINE * -(-len(series) // _KEY_COLUMNS)
    return _document(title, _WIDTH, height, parts)


def _rows(title: str, labels: Sequence[str], marks: Sequence[float], parts: Sequence[str]) -> str:
    """Labelled rows on one axis."""
    height, axis = _LINE * len(labels) + 30, []
    for mark in marks:
        line = f'x1="{_x(marks, mark)}" x2="{_x(marks, mark)}" y1="4" y2="{height - 22}"'
        axis.append(f'<line {line} stroke="{_GREY if mark == 0 else _FAINT}"/>')
        axis.append(f'<text x="{_x(marks, mark)}" y="{height - 6}" text-anchor="middle">{number(mark)}</text>')
    for place, label in enumerate(labels):
        axis.append(f'<text x="{_LABELS - 12}" y="{_LINE * place + 20}" text-anchor="end">{text(label)}</text>')
    return _document(title, _RIGHT + 20, height, [*axis, *parts])


def _x(marks: Sequence[float], value: float) -> str:
    return f"{_LABELS + (value - marks[0]) / (marks[-1] - marks[0]) * (_RIGHT - _LABELS):.1f}"


def _whisker(marks: Sequence[float], y: float, low: float, high: float, colour: str) -> str:
    return f'<line x1="{_x(marks, low)}" x2="{_x(marks, high)}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'


def _document(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{text(title)}" font-family="sans-serif" font-size="12" fill="{_GREY}">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
