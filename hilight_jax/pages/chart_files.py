"""Charts as SVG files, legible on light and on dark ground: intervals, bars and curves with bands."""

from collections.abc import Iterable, Mapping, Sequence

from hilight_jax.pages.charts import number, ticks
from hilight_jax.pages.page import text

_AXIS, _LINE, _LETTER = 340, 22, 6.4  # Length of the axis, height of a row, mean width of a letter.
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 320, 50, 10, 28  # Of a chart of curves, and its margins.
_KEY_LINE, _KEY_LETTERS = 18, 38  # Height of a line of the key, letters of a name that leaves room for two beside it.
_GREY, _FAINT = "#6b7280", "#9ca3af55"
_BETTER, _WORSE, _BAR = "#0d9488", "#dc2626", "#60a5fa"
_COLOURS = ("#0d9488", "#d97706", "#4f46e5", "#dc2626", "#0284c7", "#65a30d", "#c026d3", "#6b7280")

Interval = tuple[str, float, float, float]  # Label, value, lower and upper end.
Band = Sequence[tuple[float, float, float, float]]  # Step, value, lower and upper end.


def interval_chart(title: str, rows: Sequence[tuple[str, float, float, float, int]]) -> str:
    """Draws a difference with its interval in each row: label, value, both ends, and 1 (good), -1 (bad) or 0 (grey).

    Returns:
      An SVG document, in which ``title`` is read to those who cannot see it.
    """
    axis = _Axis([row[:4] for row in rows])
    parts = []
    for place, (_, value, low, high, sign) in enumerate(rows):
        colour = {1: _BETTER, -1: _WORSE, 0: _GREY}[sign]
        parts.append(axis.whisker(place, low, high, colour))
        parts.append(f'<circle cx="{axis.x(value)}" cy="{axis.y(place)}" r="4" fill="{colour}"/>')
    return axis.document(title, parts)


def bar_chart(title: str, rows: Sequence[Interval], rules: Mapping[str, float] | None = None) -> str:
    """Draws a bar from 0 with an interval in each row.

    Args:
      title: Read to those who cannot see it.
      rows: What to draw.
      rules: Dashed lines, such as a level of chance, by the name that is written below each.
    """
    rules = rules or {}
    axis, parts = _Axis(rows, rules), []
    for place, (_, value, low, high) in enumerate(rows):
        left, right = sorted((float(axis.x(0.0)), float(axis.x(value))))
        size = f'width="{right - left:.1f}" height="14"'
        parts.append(f'<rect x="{left}" y="{axis.y(place) - 7}" {size} fill="{_BAR}"/>')
        parts.append(axis.whisker(place, low, high, _GREY))
    return axis.document(title, parts)


class _Axis:
    """Labelled rows on one axis of values."""

    def __init__(self, rows: Sequence[Interval], rules: Mapping[str, float] | None = None):
        self._labels, self._rules = [label for label, *_ in rows], rules or {}
        ends = [0.0, *self._rules.values(), *(end for _, _, *both in rows for end in both)]
        self._marks = ticks(min(ends), max(ends))
        self._left = 16 + round(_LETTER * max(map(len, self._labels), default=0))
        self._bottom = _LINE * len(rows) + 8

    def x(self, value: float) -> str:
        """The column of a value."""
        first, last = self._marks[0], self._marks[-1]
        return f"{self._left + (value - first) / (last - first) * _AXIS:.1f}"

    def y(self, place: int) -> int:
        """The middle of a row."""
        return _LINE * place + 16

    def whisker(self, place: int, low: float, high: float, colour: str) -> str:
        """An interval."""
        ends = f'x1="{self.x(low)}" x2="{self.x(high)}" y1="{self.y(place)}" y2="{self.y(place)}"'
        return f'<line {ends} stroke="{colour}" stroke-width="2"/>'

    def document(self, title: str, parts: Sequence[str]) -> str:
        """The chart with its labels, marks and rules around the parts."""
        around = []
        for mark in self._marks:
            around.append(self._vertical(mark, f'stroke="{_GREY if mark == 0 else _FAINT}"'))
            place = f'x="{self.x(mark)}" y="{self._bottom + 16}"'
            around.append(f'<text {place} text-anchor="middle">{number(mark)}</text>')
        for row, label in enumerate(self._labels):
            place = f'x="{self._left - 12}" y="{self.y(row) + 4}"'
            around.append(f'<text {place} text-anchor="end">{text(label)}</text>')
        rules = []
        for line, (name, value) in enumerate(self._rules.items(), 2):
            rules.append(self._vertical(value, f'stroke="{_WORSE}" stroke-dasharray="4 3"'))
            place = f'x="{self.x(value)}" y="{self._bottom + 16 * line}" text-anchor="middle"'
            rules.append(f'<text {place} fill="{_WORSE}">{text(name)}, {number(value)}</text>')
        height = self._bottom + 24 + 16 * len(self._rules)
        return _document(title, self._left + _AXIS + 40, height, [*around, *parts, *rules])

    def _vertical(self, value: float, style: str) -> str:
        return f'<line x1="{self.x(value)}" x2="{self.x(value)}" y1="4" y2="{self._bottom}" {style}/>'


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

    columns = 2 if max(map(len, series)) <= _KEY_LETTERS else 1
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
        column, row = place % columns, place // columns
        left, top = _LEFT + column * (_WIDTH - _LEFT) // columns, _HEIGHT + 4 + row * _KEY_LINE
        parts.append(f'<rect x="{left}" y="{top}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 16}" y="{top + 9}">{text(name)}, at the end {number(band[-1][1])}</text>')
    height = _HEIGHT + 8 + _KEY_LINE * -(-len(series) // columns)
    return _document(title, _WIDTH, height, parts)


def _document(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{text(title)}" font-family="sans-serif" font-size="12" fill="{_GREY}">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
