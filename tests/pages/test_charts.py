"""Axis ticks, thinning, and names in a chart."""

import pytest

from hilight_jax.pages.charts import line_chart, number, thinned, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.1, 3.6, [0, 1, 2, 3, 4]),
        (0, 500, [0, 100, 200, 300, 400, 500]),
        (-0.3, 0.2, [-0.3, -0.2, -0.1, 0, 0.1, 0.2]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_constant_has_an_axis_too():
    assert ticks(2, 2)[0] < 2 < ticks(2, 2)[-1]
    assert ticks(0, 0)[0] < 0 < ticks(0, 0)[-1]


def test_many_points_become_means_of_runs():
    points = thinned([(i, i % 2) for i in range(1200)])
    assert len(points) == 300 and points[0] == (1.5, 0.5)
    assert thinned([(1, 2)]) == [(1, 2)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (0.001, "0.001"), (1e-6, "1e-06"), (0.4567, "0.457"), (12000, "12k"), (2500, "2500")],
)
def test_numbers_are_short(value, expected):
    assert number(value) == expected


def test_a_chart_names_its_lines_and_its_chance_level():
    chart = line_chart("Pointing", {"ball": [(1, 0.2), (2, 0.6)]}, {"random patch": 0.035})
    assert chart.count("<polyline") == 1
    for words in ("Pointing", "ball 0.6", "random patch 0.035", 'class="rule"'):
        assert words in chart


def test_values_that_are_not_finite_are_left_out_and_no_points_make_no_chart():
    assert "nan" not in line_chart("Loss", {"loss": [(1, 2.0), (2, float("nan")), (3, 1.0)]})
    assert line_chart("Loss", {"loss": [(1, float("inf"))]}) == "" == line_chart("Loss", {})
