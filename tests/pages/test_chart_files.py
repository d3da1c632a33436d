"""Charts as SVG files: what is drawn where, on figures that can be computed by hand."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from hilight_jax.pages.chart_files import band_chart, bar_chart, interval_chart

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [("first", 0.4, 0.2, 0.6), ("second & last", -0.5, -0.8, -0.2), ("third", 0.0, -0.2, 0.2)]


def parsed(chart):
    """The elements of a chart by their names; that it is XML is checked on the way."""
    found = {}
    for element in ElementTree.fromstring(chart).iter():
        found.setdefault(element.tag.removeprefix(SVG), []).append(element)
    return found


def texts(chart):
    return [element.text for element in parsed(chart)["text"]]


def test_differences_are_coloured_by_their_verdict():
    chart = interval_chart("Differences", [(*row, sign) for row, sign in zip(ROWS, (1, -1, 0), strict=True)])
    better, worse, open_ = (circle.get("fill") for circle in parsed(chart)["circle"])
    assert len({better, worse, open_}) == 3
    centres = [float(circle.get("cx")) for circle in parsed(chart)["circle"]]
    first, second, zero = centres
    assert (first - zero) / (zero - second) == pytest.approx(0.4 / 0.5, abs=0.01)
    assert {"first", "second & last", "third", "0"} <= set(texts(chart))


def test_labels_have_the_room_that_they_need():
    (short,), (long,) = (parsed(interval_chart("x", [(label, 0, 0, 1, 0)]))["svg"] for label in ("a", "a" * 90))
    widths = [float(svg.get("viewBox").split()[2]) for svg in (short, long)]
    assert widths[1] - widths[0] > 89 * 6


def test_bars_reach_from_0_and_rules_are_named():
    chart = bar_chart("Pointing", [("good", 0.8, 0.7, 0.9), ("bad", 0.2, 0.1, 0.3)], {"a random ball": 0.28})
    good, bad = (float(bar.get("width")) for bar in parsed(chart)["rect"])
    assert good / bad == pytest.approx(4, rel=0.01)
    assert "a random ball, 0.28" in texts(chart)
    (rule,) = (line for line in parsed(chart)["line"] if line.get("stroke-dasharray"))
    left, right = (float(bar.get("x")) + float(bar.get("width")) for bar in reversed(parsed(chart)["rect"]))
    assert left < float(rule.get("x1")) < right


def test_a_chart_of_no_rows_is_an_axis():
    assert "0" in texts(interval_chart("Nothing", [])) and "0" in texts(bar_chart("Nothing", []))


def test_curves_have_bands_from_the_lowest_to_the_highest_seed():
    chart = band_chart("Loss", {"one": [(0, 2.0, 1.0, 3.0), (10, 1.0, 1.0, 1.0)], "two": [(0, 0, 0, 0), (10, 0, 0, 0)]})
    band, flat = (re.findall(r"([\d.]+),([\d.]+)", each.get("points")) for each in parsed(chart)["polygon"])
    heights = [float(y) for _, y in band]
    assert len(band) == len(flat) == 4 and heights[0] < heights[3], "the highest seed is above the lowest"
    assert heights[1] == heights[2], "and the band closes where the seeds agree"
    assert {"one, at the end 1", "two, at the end 0"} <= set(texts(chart))


def test_values_below_the_axis_are_cut():
    chart = band_chart("Loss", {"one": [(0, 1.0, -1.0, 3.0), (10, 1.0, 1.0, 1.0)]}, low=0.0)
    lowest = max(float(line.get("y1")) for line in parsed(chart)["line"])
    (band,) = (re.findall(r"([\d.]+),([\d.]+)", each.get("points")) for each in parsed(chart)["polygon"])
    assert max(float(y) for _, y in band) == pytest.approx(lowest, abs=0.1)
