import pytest

from hilight_jax.generation.streaming import StopStrings, TextStream
from tests.generation.chat import Letters

A, B = 2, 3
BALL = [30, 31, 32, 33]  # The four bytes of one character.


def pieces(ids):
    stream = TextStream(Letters())
    return [*(stream.push(i) for i in ids), stream.finish()], stream.text


def test_text_comes_as_it_is_spelt():
    assert pieces([A, B]) == (["a", "b", ""], "ab")


def test_a_character_is_shown_when_it_is_whole():
    assert pieces([A, *BALL, B]) == (["a", "", "", "", "\N{BILLIARDS}", "b", ""], "a\N{BILLIARDS}b")


def test_half_a_character_is_shown_as_such_at_the_end():
    assert pieces([A, *BALL[:2]]) == (["a", "", "", "\ufffd"], "a\ufffd")


def test_half_a_character_in_the_middle_is_shown_when_the_next_comes():
    assert pieces([BALL[0], A]) == (["", "\ufffda", ""], "\ufffda")


def test_nothing_is_the_empty_text():
    assert pieces([]) == ([""], "")


@pytest.mark.parametrize(
    ("strings", "given", "shown", "met"),
    [
        (["."], ["a", "b.", "c"], "ab", True),
        (["END"], ["so E", "N", "D it"], "so ", True),
        (["END"], ["so E", "N", "E"], "so ENE", False),
        (["aab"], ["a", "a", "a", "b"], "a", True),
        (["xy", "y"], ["x", "y"], "", True),
        ([], ["a", "b"], "ab", False),
        (["END"], ["EN"], "EN", False),
    ],
)
def test_a_text_ends_before_a_stop_string_however_it_is_cut(strings, given, shown, met):
    stops = StopStrings(strings)
    text = ""
    for piece in given:
        text += stops.push(piece)
        if stops.met:
            break
    assert (text + ("" if stops.met else stops.finish()), stops.met) == (shown, met)
