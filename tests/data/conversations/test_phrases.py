"""Phrases that a text names, word by word."""

import pytest

from hilight_jax.data.conversations.words import find_phrases, listed_names

NAMES = listed_names(("the red ball|the red one|red", "the green ball|green", "the cue ball|the white ball"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Is the red ball left of green?", ["the red ball", "the green ball"]),
        ("red pocketed?", ["the red ball"]),
        ("Red, green and white ball", ["the red ball", "the green ball", "the cue ball"]),
        ("the green cloth", ["the green cloth"]),
        ("the man in the red shirt", ["the man", "the red shirt"]),
        ("Is the red green?", ["the red ball", "the green ball"]),
    ],
)
def test_a_colour_names_a_ball_unless_it_goes_on_with_another_thing(text, named):
    assert [phrase for *_, phrase in find_phrases(text, NAMES)] == named
