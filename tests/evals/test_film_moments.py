"""Moments of films whose pieces are ordered by a rule that can be read off."""

import json

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.evals.film_moments import Asked, MatchesSource, Ordered, evaluate_moments, moments_table

PIECES = [Ordered(k, k + 1) for k in range(10)]


def order(path):
    """Orders ten pieces of a second by their distance from the second that the text names."""
    return lambda text: sorted(PIECES, key=lambda piece: abs(piece.start - int(text)))


def test_ranks_are_those_of_the_piece_in_which_a_stroke_is_struck():
    films = [("a", [Asked(3.5, "3"), Asked(7.0, "3")]), ("b", [Asked(0.0, "0"), Asked(12.0, "9")])]
    found = evaluate_moments(films, order)["moments"]
    # Ranks: 1; |7 - 3| = 4, after seven of 0..6; 1; none, for no piece holds second 12.
    assert (found["films"], found["asked"], found["pieces"]) == (2, 4, 10)
    assert found["R@1"] == 0.5 and found["R@5"] == 0.5 and found["chance"] == pytest.approx(0.075)
    assert found["median_rank"] == 4.5
    assert "R@1 0.500" in moments_table({"name": "x", "moments": found})


def test_of_several_windows_that_show_a_stroke_the_best_counts():
    overlapping = [Ordered(k / 2, k / 2 + 1) for k in range(10)]
    found = evaluate_moments([("a", [Asked(3.2, "?")])], lambda path: lambda text: overlapping)["moments"]
    assert found["median_rank"] == 6 and found["chance"] == 0.2


def test_films_are_those_with_a_truth(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"strokes": [{"time": 4.2, "caption": "red", "end": 5}]}))
    with pytest.raises(DataError, match=r"holds no film NAME.mp4 with its truth NAME.json; make some with"):
        MatchesSource(str(tmp_path))
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    source = MatchesSource(str(tmp_path), "5;2.5")
    assert source.films == [(tmp_path / "a.mp4", [Asked(4.2, "red")])] and source.windows == "5,2.5"
    (tmp_path / "a.json").write_text('{"strokes": [{"time": 4.2}]}')
    with pytest.raises(DataError, match=r"a.json' is not of the form"):
        MatchesSource(str(tmp_path))
    with pytest.raises(DataError, match="no stroke with a caption"):
        evaluate_moments([("a", [])], order)
