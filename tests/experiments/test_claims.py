"""Intervals of differences that can be computed by hand, and the verdicts that follow."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from hilight_jax.experiments.ablations import connector_figures
from hilight_jax.experiments.claims import (
    PRIOR,
    Comparison,
    Difference,
    Verdict,
    compare,
    row_interval,
    told_together,
    verdict,
)


def table(figure="right", **rows):
    """A table whose rows have runs with one figure, and an interval over clips where one is given."""
    return {
        "rows": [
            {
                "name": name,
                "runs": [
                    None if value is None else {"seed": seed, figure: value, "intervals": {figure: interval}}
                    for seed, value in enumerate(values)
                ],
            }
            for name, (values, interval) in rows.items()
        ]
    }


RIGHT, LOSS = Comparison("right", "a", "b"), Comparison("train_loss", "a", "b")


def t(freedom):
    return scipy.stats.t.ppf(0.975, freedom)


def test_the_spread_between_the_seeds_of_both_rows_is_moved_toward_that_of_the_others():
    # Of cosines, which have one scale: 2 * 0.1^2 of each row, 2 * 0.2^2 of c. Three other rows of two seeds hardly
    # differ, so the prior has its four degrees of freedom of five: 0.08 / 5.
    others = {f"d{k}": ([0.3, 0.3], None) for k in range(4)}
    made = table("cosine", a=([0.7, 0.9], None), b=([0.4, 0.6], None), c=([0.1, 0.5], None), **others)
    found = compare(made, Comparison("cosine", "a", "b"))
    variance = (PRIOR * 0.08 / 5 + 0.02 + 0.02) / (PRIOR + 2)
    reach = t(PRIOR + 2) * math.sqrt(variance * (1 / 2 + 1 / 2))
    assert found.seeds == (2, 2)
    np.testing.assert_allclose(found[:5], (0.8, 0.5, 0.3, 0.3 - reach, 0.3 + reach), rtol=1e-9)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(0.3 / math.sqrt(variance), PRIOR + 2))


def test_a_small_table_lends_no_more_freedom_than_it_has():
    made = table("cosine", a=([0.7], None), b=([0.4], None), c=([0.1, 0.5], None))
    found = compare(made, Comparison("cosine", "a", "b"))
    assert found.high - found.difference == pytest.approx(t(1) * math.sqrt(0.08 * 2))


@pytest.mark.parametrize(("figure", "scale"), [("right", lambda x: x * (1 - x)), ("train_loss", lambda x: x**2)])
def test_the_variance_goes_with_the_scale_of_a_row(figure, scale):
    rows = table(figure, a=([0.1, 0.1], None), b=([0.8, 0.8], None), c=([0.4, 0.6], None))
    ratio = 0.02 / scale(0.5) / 2  # Of c; one other row has no spread.
    for name, mean in (("a", 0.1), ("b", 0.8)):
        variance = 2 * ratio * scale(mean) / 3 / 2  # Two degrees of freedom of the others, one own; two seeds.
        center, low, high = row_interval(rows, name, figure)
        assert center == pytest.approx(mean) and (high - low) / 2 == pytest.approx(t(3) * math.sqrt(variance))


@pytest.mark.parametrize(
    ("seeds", "others", "bounds"),
    [((2, 2), 18, (0.02, 0.06)), ((3, 3), 4, (0.03, 0.07)), ((2, 1), 3, (0.02, 0.07)), ((1, 1), 3, (0.02, 0.07))],
)
def test_rows_that_are_alike_are_told_apart_about_as_often_as_the_level_says(seeds, others, bounds):
    rng, false, draws = np.random.default_rng(0), 0, 2000
    for _ in range(draws):
        rows = {name: (rng.normal(0.3, 0.02, count), None) for name, count in zip("ab", seeds, strict=True)}
        rows |= {f"other{k}": (rng.normal(0.3, 0.02, 2), None) for k in range(others)}
        found = compare(table(**rows), RIGHT)
        false += found.low > 0 or found.high < 0
    assert bounds[0] < false / draws < bounds[1], false / draws


def test_unlike_rows_are_told_apart_by_chance_as_often_as_the_level_says():
    """Twelve rows near 0.05 whose seeds hardly differ, eight near 0.3 whose seeds do: no row is better."""
    rng, false = np.random.default_rng(0), {"low": 0, "high": 0}
    draws = 1500
    for _ in range(draws):
        rows = {f"low{k}": (rng.normal(0.05, 0.01, 2), None) for k in range(12)}
        rows |= {f"high{k}": (rng.normal(0.3, 0.021, 2), None) for k in range(8)}  # The same share of p (1 - p).
        made = table(**rows)
        for kind in false:
            low, high = compare(made, Comparison("right", f"{kind}0", f"{kind}1"))[3:5]
            false[kind] += low > 0 or high < 0
    assert all(0.015 * draws < count < 0.07 * draws for count in false.values()), false


def test_clips_add_to_it_and_do_not_shrink_with_the_seeds():
    # Intervals over clips of +-0.196 are standard errors of 0.1; no seeds differ.
    clips = [0.5 - 0.1959964, 0.5 + 0.1959964]
    found = compare(table(a=([0.8, 0.8, 0.8], clips), b=([0.5, 0.5], clips)), RIGHT)
    reach = scipy.stats.norm.ppf(0.975) * math.sqrt(0.1**2 + 0.1**2)
    np.testing.assert_allclose((found.low, found.high), (0.3 - reach, 0.3 + reach), rtol=1e-6)


def test_a_row_without_intervals_over_clips_has_the_mean_error_of_the_others():
    clips = [0.5 - 0.1959964, 0.5 + 0.1959964]
    rows = table(a=([0.8, 0.8], None), b=([0.5, 0.5], clips))
    _, low, high = row_interval(rows, "a", "right")
    assert high - low == pytest.approx(2 * 0.1959964) and compare(rows, RIGHT).over_clips
    assert not compare(table(a=([0.8, 0.8], None), b=([0.5, 0.6], None)), RIGHT).over_clips


def with_influences(rows, *of_rows, source="held-out"):
    """Gives the runs of each row the influences of their seeds."""
    for row, of_seeds in zip(rows["rows"], of_rows, strict=True):
        for run, influences in zip(row["runs"], of_seeds, strict=True):
            run |= {"influences": {"right": influences}, "source": source}
    return rows


def test_rows_that_see_the_same_clips_are_compared_clip_by_clip():
    clips = [0.5 - 0.1959964, 0.5 + 0.1959964]
    a, b = [60_000, -80_000, 20_000], [60_000, -50_000, -10_000]
    rows = with_influences(table(a=([0.8, 0.8], clips), b=([0.5, 0.5], clips)), [a, a], [b, b])
    found = compare(rows, RIGHT)
    reach = scipy.stats.norm.ppf(0.975) * math.sqrt(0.03**2 + 0.03**2)
    assert found.paired
    np.testing.assert_allclose((found.low, found.high), (0.3 - reach, 0.3 + reach), rtol=1e-6)
    rows["rows"][1]["runs"][1]["source"] = "other clips"
    assert compare(rows, RIGHT).low < found.low and not compare(rows, RIGHT).paired
    rows["rows"][1]["runs"][1] |= {"source": "held-out", "influences": {}}
    assert not compare(rows, RIGHT).paired, "each by itself where they are not known of every run"


def test_the_chance_of_the_seeds_in_the_influences_is_not_counted_twice():
    """No clip is easier: all that the influences show is chance, which the spread between seeds has in it."""
    rng, errors = np.random.default_rng(0), []
    for _ in range(300):
        of_rows = [np.rint(1e6 * rng.normal(0, 0.001, (2, 200))).astype(int).tolist() for _ in range(2)]
        rows = with_influences(table(a=([0.5, 0.5], None), b=([0.5, 0.5], None)), *of_rows)
        found = compare(rows, RIGHT)
        errors.append((found.high - found.low) / 2 / 1.96)
    assert np.mean(np.square(errors)) < 0.3 * 2 * 200 * 0.001**2 / 2


def test_a_figure_is_compared_with_a_number():
    rows = table("cosine", a=([0.2, 0.4], None), b=([0.0, 0.0], None))
    found = compare(rows, Comparison("cosine", "a", 0.1))
    reach = t(2) * math.sqrt(0.02 / 2 / 2)  # One degree of freedom of b without spread, one of a.
    assert found.seeds == (2, 0) and found.worse == 0.1
    np.testing.assert_allclose(found[2:5], (0.2, 0.2 - reach, 0.2 + reach), rtol=1e-9)
    assert compare(rows, Comparison("cosine", "nobody", 0.1)) is None


def test_a_control_is_subtracted_in_every_run():
    runs = [{"pointing": 0.5, "another_word": 0.4}, {"pointing": 0.6, "another_word": 0.5}]
    rows = {"rows": [{"name": name, "runs": runs} for name in "ab"]}
    found = compare(rows, Comparison("pointing", "a", 0.0, control="another_word"))
    np.testing.assert_allclose(found[:5], (0.1, 0.0, 0.1, 0.1, 0.1), atol=1e-12)


def test_of_a_loss_the_lower_one_is_better():
    loss = table("train_loss", a=([1.0, 1.0], None), b=([1.5, 1.5], None))
    assert compare(loss, LOSS._replace(lower=True)).low == pytest.approx(0.5)
    assert compare(loss, LOSS).high == pytest.approx(-0.5)


def test_figures_of_a_group_are_found():
    runs = [{"types": {"hit": 0.5}}, {"types": {"hit": 0.7}}]
    rows = [{"name": name, "runs": runs} for name in "ab"]
    assert compare({"rows": rows}, Comparison("types/hit", "a", "b")).better == pytest.approx(0.6)


@pytest.mark.parametrize(
    "rows",
    [
        {"a": ([0.5, 0.6], None)},
        {"a": ([0.5, 0.6], None), "b": ([None], None)},
        {"a": ([0.5], None), "b": ([0.4], None)},
    ],
)
def test_rows_that_were_not_run_and_single_seeds_are_no_comparison(rows):
    assert compare(table(**rows), RIGHT) is None


def difference(low, high, allowed=0.0, p=0.5):
    return Difference(0.5, 0.4, (low + high) / 2, low, high, p, (2, 2), allowed=allowed)


def test_a_verdict_follows_from_the_interval():
    assert difference(0.01, 0.2).verdict == "holds"
    assert difference(-0.2, -0.01).verdict == "does not hold"
    assert difference(-0.1, 0.2).verdict == difference(0.0, 0.2).verdict == "cannot be told at this size"
    assert difference(-0.019, 0.019).verdict == "cannot be told at this size"


def test_what_need_not_be_better_may_be_worse_by_the_allowance():
    assert difference(-0.04, 0.1, allowed=0.05).verdict == "holds"
    assert difference(-0.06, 0.1, allowed=0.05).verdict == "cannot be told at this size"
    assert difference(-0.2, -0.06, allowed=0.05).verdict == "does not hold"


def test_several_comparisons_hold_when_all_do_and_do_not_when_one_does_not():
    yes, no, unclear = (difference(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1)))
    assert verdict([yes, yes]) is Verdict.HOLDS
    assert verdict([yes, unclear]) is Verdict.OPEN
    assert verdict([yes, unclear, no]) is verdict([None, no]) is Verdict.DOES_NOT
    assert verdict([yes, None]) is Verdict.NOT_RUN


def test_holms_method_tells_the_smallest_first_and_stops_at_the_first_that_is_too_large():
    found = [difference(0, 1, p=p) for p in (0.04, 0.001, 0.02, 0.012)]
    assert told_together([*found[:2], None, *found[2:]]) == [True, True, False, True, True]
    assert told_together([difference(0, 1, p=0.03), difference(0, 1, p=0.02)]) == [True, True]


def test_the_interval_of_a_chat_models_answers_is_found(tmp_path):
    """As ``connector_figures`` leaves it in a run."""
    needs = {"normalised": 0.5, "interval": [0.4, 0.6], "most_frequent": 0.3, "question_only": 0.3, "other_clip": 0.3}
    result = {"date": "2026-12-01 10:00", "step": 5, "needs_video": needs, "types": {}}
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "validation-per-kind-50.json").write_text(json.dumps(result))
    (tmp_path / "metrics.jsonl").touch()
    run = connector_figures(tmp_path)
    rows = {"rows": [{"name": name, "runs": [run, run]} for name in "ab"]}
    found = compare(rows, RIGHT)
    assert found.over_clips and found.high == pytest.approx(math.sqrt(2) * 0.1)
