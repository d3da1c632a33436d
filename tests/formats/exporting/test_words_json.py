"""The data that exports find words with, and the code beside it, against this package's own tokenizers."""

import importlib.util
import json

import numpy as np
import pytest

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.conversations.words import WordFinder, encode_phrases
from hilight_jax.formats.exporting.words_json import copy_code, words_json, write_words
from tests.data.conversations.tiny_gemma import TOKENIZER

THINGS = ("the red ball", "the cue ball")
PHRASES = (
    "the red ball",
    "the",
    "the ball 147x",
    "the äpfel und öl",
    "the 球台 green",
    "the ½ ² ｆｕｌｌ ﬁsh",
    "the antidisestablishmentarianism supercalifragilisticexpialidocious honorificabilitudinitatibus",
    "the way red idea",
)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A directory with the data and the code, both opened by path as an export's loader opens them."""
    directory = tmp_path_factory.mktemp("export")
    write_words(directory, THINGS, TOKENIZER, VIDEO_ID)
    copy_code(directory)

    def module(name):
        spec = importlib.util.spec_from_file_location(name, directory / f"{name}.py")
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        return found

    return json.loads((directory / "words.json").read_text(encoding="utf-8")), module


def test_phrases_get_the_ids_and_marks_of_clips_tokenizer(export):
    rules, module = export
    for found, expected in zip(module("phrase_ids").PhraseIds(rules)(PHRASES), encode_phrases(PHRASES), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_words_are_found_as_in_training(export):
    rules, module = export
    pieces = [piece.encode("latin-1") for piece in rules["pieces"]]
    turns = [
        Turn("user", "<video>\nDoes the Cue ball hit a red 3-ball? 😀 球"),
        Turn("model", "The red ball."),
        Turn("user", "And a wooden table?"),
    ]
    ids = expand(prompt_ids(turns, TOKENIZER), None, 5)[0]
    found = module("phrases").PhraseFinder(pieces.__getitem__, rules)(ids)
    expected = WordFinder(TOKENIZER, THINGS)(ids)
    assert found.phrases == expected.phrases
    assert {"the cue ball", "the wooden table"} <= set(found.phrases)
    np.testing.assert_array_equal(found.rows, expected.rows)


def test_the_file_is_small_beside_weights():
    assert len(json.dumps(words_json(THINGS, TOKENIZER, VIDEO_ID), ensure_ascii=False)) < 1_000_000
