import numpy as np
import pytest

from hilight_jax.core.errors import UserError
from hilight_jax.data.films.pieces import Piece, parse_rule, pieces
from hilight_jax.data.films.shots import Shot


def cut(rule, times, end):
    return [(piece.start, piece.end) for piece in pieces("film.mp4", rule, np.array(times, float), end)]


def test_windows_follow_each_other_up_to_the_end():
    times = np.arange(0, 12, 0.5)
    assert cut("windows 5,5", times, 12.0) == [(0, 5), (5, 10), (10, 12)]
    assert cut("windows 4,2", times, 8.0) == [(0, 4), (2, 6), (4, 8)]
    assert cut("windows 20,20", times, 12.0) == [(0, 12)]


def test_a_gap_of_days_has_no_windows():
    times = [0.0, 1.0, 200_000.0]
    assert cut("windows 5,5", times, 200_001.0) == [(0, 5), (200_000, 200_001)]
    assert cut("windows 5,2", times, 200_001.0)[-1][1] == 200_001
    assert len(cut("windows 5,2", times, 200_001.0)) < 6


def test_a_window_states_that_nothing_is_known_of_a_stroke():
    assert list(pieces("film.mp4", "windows 5,5", np.array([0.0]), 1.0)) == [Piece(0.0, 1.0, None, "window")]


@pytest.mark.parametrize("windows", ["0", "-1", "5,6", "5,0", "x", "5,2,1", "", "nan", "inf"])
def test_lengths_that_are_none_are_refused(windows):
    with pytest.raises(UserError, match="SECONDS or SECONDS,STRIDE"):
        parse_rule(windows)


def test_rules_are_written_in_one_way():
    assert parse_rule("5.0") == parse_rule("5,5") == "windows 5,5"
    assert parse_rule("5,2.5") == "windows 5,2.5"


def test_shots_are_pieces(monkeypatch):
    shots = [Shot(0.0, 4.5, 1.5, "stroke"), Shot(4.5, 9.0, None, "interlude")]
    monkeypatch.setattr("hilight_jax.data.films.pieces.find_shots", lambda video, report=None: iter(shots))
    assert parse_rule(None) == "shots"
    assert list(pieces("film.mp4", "shots", np.arange(9.0), 9.0)) == [Piece(*shot) for shot in shots]
