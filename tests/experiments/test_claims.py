"""Intervals of differences that can be computed by hand, and the verdicts that follow."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from hilight_jax.experiments.ablations import connector_figures
from hilight_jax.experiments.claims import Comparison, Difference, Verdict, compare, verdict


def table(**rows):
    """A table whose rows have runs with the figure ``right``, and an interval over clips where one is given."""
    return {
        "rows": [
            {
                "name": name,
                "runs": [
                    None if value is None else {"seed": seed, "right": value, "intervals": {"right": interval}}
                    for seed, value in enumerate(values)
                ],
            }
            for name, (values, interval) in rows.items()
        ]
    }


RIGHT = Comparison("right", "a", "b")


def test_the_spread_between_seeds_is_pooled_over_all_rows_of_the_table():
    # Squares: 2 * 0.1^2 of a, 2 * 0.1^2 of b, 2 * 0.2^2 of c, over 3 degrees of freedom: s^2 = 0.04.
    found = compare(table(a=([0.7, 0.9], None), b=([0.4, 0.6], None), c=([0.1, 0.5], None)), RIGHT)
    reach = scipy.stats.t.ppf(0.975, 3) * math.sqrt(0.04 * (1 / 2 + 1 / 2))
    assert found.seeds == (2, 2)
    np.testing.assert_allclose(found[:4], (0.8, 0.5, 0.3 - reach, 0.3 + reach), rtol=1e-9)


def test_clips_add_to_it_and_do_not_shrink_with_the_seeds():
    # Intervals over clips of +-0.196 are standard errors of 0.1; the seeds of b do not differ at all.
    clips = [0.5 - 0.1959964, 0.5 + 0.1959964]
    found = compare(table(a=([0.8, 0.8, 0.8], clips), b=([0.5, 0.5], clips)), RIGHT)
    reach = scipy.stats.t.ppf(0.975, 3) * math.sqrt(0.1**2 + 0.1**2)
    np.testing.assert_allclose((found.low, found.high), (0.3 - reach, 0.3 + reach), rtol=1e-6)


def test_of_a_loss_the_lower_one_is_better():
    loss = table(a=([1.0, 1.0], None), b=([1.5, 1.5], None))
    assert compare(loss, Comparison("right", "a", "b", lower=True)).low == pytest.approx(0.5)
    assert compare(loss, RIGHT).high == pytest.approx(-0.5)


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


def difference(low, high):
    return Difference(0.5, 0.4, low, high, (2, 2))


def test_a_verdict_follows_from_the_interval():
    assert difference(0.01, 0.2).verdict == "holds"
    assert difference(-0.2, -0.01).verdict == "does not hold"
    assert difference(-0.1, 0.2).verdict == difference(0.0, 0.2).verdict == "cannot be told at this size"


def test_several_comparisons_hold_when_all_do_and_do_not_when_one_does_not():
    yes, no, unclear = difference(0.1, 0.2), difference(-0.2, -0.1), difference(-0.1, 0.1)
    assert verdict([yes, yes]) is Verdict.HOLDS
    assert verdict([yes, unclear]) is Verdict.OPEN
    assert verdict([yes, unclear, no]) is verdict([None, no]) is Verdict.DOES_NOT
    assert verdict([yes, None]) is Verdict.NOT_RUN


def test_a_figure_without_an_interval_over_clips_says_so():
    clips = [0.4, 0.6]
    assert compare(table(a=([0.8, 0.8], clips), b=([0.5, 0.6], clips)), RIGHT).over_clips
    assert not compare(table(a=([0.8, 0.8], None), b=([0.5, 0.6], clips)), RIGHT).over_clips


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
    reach = scipy.stats.t.ppf(0.975, 2) * math.sqrt(2) * 0.1 / scipy.stats.norm.ppf(0.975)
    assert found.over_clips and found.high == pytest.approx(reach)
