"""The things that a text names, as words that one can read."""

import pytest

from hilight_jax.data.named_things import named_things
from hilight_jax.data.records import Caption, Span
from hilight_jax.data.tokenizers import ClipTokenizer


def words(caption, length=32):
    tokens = ClipTokenizer(length)(caption.text)
    return [[caption.text[slice(*tokens.spans[i])] for i in positions] for positions in named_things(caption, tokens)]


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("the red 3-ball is potted", [["red", "3", "ball"], ["potted"]]),
        ("The cue ball hits the red ball.", [["cue", "ball", "hits"], ["red", "ball"]]),
        ("red ball, blue ball", [["red", "ball"], ["blue", "ball"]]),
        ("a red  ball", [["red", "ball"]]),
        ("What happens next?", []),
        ("", []),
    ],
)
def test_without_spans_runs_of_content_words_are_things(text, things):
    assert words(Caption(text)) == things


def test_spans_are_things_without_their_articles():
    text = "the red ball, then the cue ball hits the red ball"
    spans = tuple(Span(start, start + len(name), "ball") for name, start in (("the red ball", 0), ("the cue ball", 19)))
    again = Span(37, 49, "ball")
    assert words(Caption(text, (*spans, again))) == [["red", "ball"], ["cue", "ball"], ["red", "ball"]]
    assert words(Caption(text, ())) == []


def test_things_behind_the_end_of_a_long_text_are_left_out():
    text = "the red ball and the blue ball"
    spans = (Span(0, 12, "ball"), Span(17, 30, "ball"))
    assert words(Caption(text, spans), length=6) == [["red", "ball"]]
    assert words(Caption(text), length=6) == [["red", "ball"]]
