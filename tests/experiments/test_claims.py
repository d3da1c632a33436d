"""Intervals of differences that can be computed by hand, and the verdicts that follow."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from hilight_jax.experiments.ablations import connector_figures
from hilight_jax.experiments.claims import PRIOR, Comparison, Difference, Verdict, compare, row_figure, verdict


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


def test_the_spread_between_the_seeds_of_a_row_is_moved_toward_that_of_the_table():
    # Sums of squares: 2 * 0.1^2 of a, 2 * 0.1^2 of b, 2 * 0.2^2 of c, over 3 degrees of freedom: 0.04 in the table.
    found = compare(table("train_loss", a=([0.7, 0.9], None), b=([0.4, 0.6], None), c=([0.1, 0.5], None)), LOSS)
    variance = (PRIOR * 0.04 + 0.02) / (PRIOR + 1)
    reach = scipy.stats.t.ppf(0.975, 2 * (PRIOR + 1)) * math.sqrt(variance * (1 / 2 + 1 / 2))
    assert found.seeds == (2, 2)
    np.testing.assert_allclose(found[:5], (0.8, 0.5, 0.3, 0.3 - reach, 0.3 + reach), rtol=1e-9)


def test_of_shares_the_variance_of_the_table_grows_with_p_times_its_rest():
    # Row c alone has a spread: 2 * 0.1^2 at p = 0.5, so 0.08 / 3 of p (1 - p) over the three rows' freedom.
    rows = table(a=([0.1, 0.1], None), b=([0.8, 0.8], None), c=([0.4, 0.6], None))
    ratio = 0.02 / 0.25 / 3
    for name, share in (("a", 0.1), ("b", 0.8)):
        expected = PRIOR * ratio * share * (1 - share) / (PRIOR + 1) / 2
        assert row_figure(rows, name, "right").between_seeds == pytest.approx(expected)


def test_unlike_rows_are_told_apart_by_chance_as_often_as_the_level_says():
    """Twelve rows near 0.05 whose seeds hardly differ, eight near 0.3 whose seeds do: no row is better."""
    rng, false = np.random.default_rng(0), {"a": 0, "c": 0}
    draws = 1500
    for _ in range(draws):
        rows = {f"low{k}": (rng.normal(0.05, 0.01, 2), None) for k in range(12)}
        rows |= {f"high{k}": (rng.normal(0.3, 0.037, 2), None) for k in range(8)}
        made = table(**rows)
        for name, kind in (("a", "low"), ("c", "high")):
            low, high = compare(made, Comparison("right", f"{kind}0", f"{kind}1"))[3:5]
            false[name] += low > 0 or high < 0
    assert false["a"] < 0.05 * draws and false["c"] < 0.1 * draws, false


def test_clips_add_to_it_and_do_not_shrink_with_the_seeds():
    # Intervals over clips of +-0.196 are standard errors of 0.1; no seeds differ.
    clips = [0.5 - 0.1959964, 0.5 + 0.1959964]
    found = compare(table(a=([0.8, 0.8, 0.8], clips), b=([0.5, 0.5], clips)), RIGHT)
    reach = scipy.stats.norm.ppf(0.975) * math.sqrt(0.1**2 + 0.1**2)
    np.testing.assert_allclose((found.low, found.high), (0.3 - reach, 0.3 + reach), rtol=1e-6)


def test_a_row_without_intervals_over_clips_has_the_mean_error_of_the_others():
    clips = [0.5 - 0.1959964, 0.5 + 0.1959964]
    rows = table(a=([0.8, 0.8], None), b=([0.5, 0.5], clips))
    assert row_figure(rows, "a", "right").over_clips == pytest.approx(0.01)
    assert compare(rows, RIGHT).over_clips
    assert not compare(table(a=([0.8, 0.8], None), b=([0.5, 0.6], None)), RIGHT).over_clips


def test_rows_that_see_the_same_clips_are_compared_clip_by_clip():
    clips = [0.5 - 0.1959964, 0.5 + 0.1959964]
    rows = table(a=([0.8, 0.8], clips), b=([0.5, 0.5], clips))
    for row, influences in zip(rows["rows"], ([60_000, -80_000, 20_000], [60_000, -50_000, -10_000]), strict=True):
        for run in row["runs"]:
            run["influences"] = {"right": influences}
    found = compare(rows, RIGHT)
    reach = scipy.stats.norm.ppf(0.975) * math.sqrt(0.03**2 + 0.03**2)
    np.testing.assert_allclose((found.low, found.high), (0.3 - reach, 0.3 + reach), rtol=1e-6)
    del rows["rows"][1]["runs"][1]["influences"]
    assert compare(rows, RIGHT).low < found.low, "each by itself where they are not known of every run"


def test_a_figure_is_compared_with_a_number():
    rows = table("cosine", a=([0.2, 0.4], None), b=([0.0, 0.0], None))
    found = compare(rows, Comparison("cosine", "a", 0.1))
    variance = (PRIOR * 0.01 + 0.02) / (PRIOR + 1) / 2
    reach = scipy.stats.t.ppf(0.975, PRIOR + 1) * math.sqrt(variance)
    assert found.seeds == (2, 0) and found.worse == 0.1
    np.testing.assert_allclose(found[2:5], (0.2, 0.2 - reach, 0.2 + reach), rtol=1e-9)
    assert compare(rows, Comparison("cosine", "nobody", 0.1)) is None


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


def difference(low, high, allowed=0.0):
    return Difference(0.5, 0.4, (low + high) / 2, low, high, (2, 2), allowed=allowed)


def test_a_verdict_follows_from_the_interval():
    assert difference(0.01, 0.2).verdict == "holds"
    assert difference(-0.2, -0.01).verdict == "does not hold"
    assert difference(-0.1, 0.2).verdict == difference(0.0, 0.2).verdict == "cannot be told at this size"
    assert difference(-0.019, 0.019).verdict == "makes no difference"


def test_what_need_not_be_better_may_be_worse_by_the_allowance():
    assert difference(-0.04, 0.1, allowed=0.05).verdict == "holds"
    assert difference(-0.06, 0.1, allowed=0.05).verdict == "cannot be told at this size"
    assert difference(-0.2, -0.06, allowed=0.05).verdict == "does not hold"


def test_several_comparisons_hold_when_all_do_and_do_not_when_one_does_not():
    yes, no, unclear, none = (difference(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (-0.01, 0.01)))
    assert verdict([yes, yes]) is Verdict.HOLDS
    assert verdict([yes, unclear]) is Verdict.OPEN
    assert verdict([yes, unclear, no, none]) is verdict([None, no]) is Verdict.DOES_NOT
    assert verdict([yes, unclear, none]) is Verdict.NO_DIFFERENCE
    assert verdict([yes, None]) is Verdict.NOT_RUN


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
