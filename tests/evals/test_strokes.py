import json

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.evals.strokes import StrokeScore, match_strokes, read_truth, score_strokes


def test_a_stroke_counts_within_half_a_second():
    assert match_strokes([1.0, 5.4, 9.6], [1.5, 5.0, 9.0]) == [(0, 0), (1, 1)]
    assert score_strokes([1.0, 5.4, 9.6], [1.5, 5.0, 9.0]) == StrokeScore(num_found=3, num_true=3, num_matched=2)


def test_a_true_stroke_is_found_once():
    assert match_strokes([4.9, 5.1], [5.0]) == [(0, 0)]
    assert match_strokes([5.0], [4.9, 5.1]) == [(0, 0)]


def test_the_pairing_has_as_many_pairs_as_there_can_be():
    # 1.4 is nearest to 1.5, but then 1.9 would stay alone.
    assert match_strokes([1.4, 1.9], [1.0, 1.5]) == [(0, 0), (1, 1)]


def test_times_may_come_in_any_order():
    assert match_strokes([9.0, 1.0], [1.2, 9.2]) == [(1, 0), (0, 1)]


def test_recall_and_precision_are_ratios_of_sums():
    total = StrokeScore(4, 2, 2).plus(StrokeScore(0, 2, 0))
    assert total.recall == 0.5 and total.precision == 0.5
    assert StrokeScore(0, 0, 0).recall is None and StrokeScore(0, 3, 0).precision is None


def test_a_truth_is_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"strokes": [{"time": 4.2}, {"time": 9}]}))
    assert read_truth(tmp_path / "a.json") == [4.2, 9.0]


@pytest.mark.parametrize("text", ["{}", "[1]", '{"strokes": [{"at": 1}]}', "no json"])
def test_another_form_of_truth_is_a_sentence(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match="is not of the form"):
        read_truth(tmp_path / "a.json")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_truth(tmp_path / "b.json")
