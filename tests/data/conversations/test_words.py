"""The words of a conversation that name something, found in token ids."""

import pickle

import numpy as np
import pytest

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.data.conversations.prompts import expand, prompt_ids, training_example
from hilight_jax.data.conversations.words import (
    PHRASE_BUCKETS,
    PHRASE_LENGTH,
    WordFinder,
    encode_things,
    find_phrases,
    listed_names,
    name_of,
    phrase_tokens,
)
from tests.data.conversations.tiny_gemma import TOKENIZER

THINGS = ("the cue ball", "The red ball", "ball")
NAMES = listed_names(("the cue ball|the white ball", "the red ball|red", "a ball"))


def found(text, names=NAMES):
    """The words of a text and the phrases that they are read as."""
    return [(text[start:end], phrase) for start, end, phrase in find_phrases(text, names)]


def named(ids, finder=None):
    """The pieces of each phrase of some ids."""
    words = (finder or WordFinder(TOKENIZER, THINGS))(np.asarray(ids, np.int32))
    return {
        phrase: TOKENIZER.decode(np.asarray(ids)[words.rows == number].tolist()).strip()
        for number, phrase in enumerate(words.phrases, 1)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Does the Cue  ball hit it?", [("Cue  ball", "the cue ball")]),
        ("Is the red ball next to the ball?", [("red ball", "the red ball"), ("ball", "the ball")]),
        ("Is red near the white ball?", [("red", "the red ball"), ("white ball", "the cue ball")]),
        ("Is the redball near?", [("redball", "the redball")]),
        ("the man in a long black coat", [("man", "the man"), ("long black coat", "the long black coat")]),
        ("round wooden table legs", [("round wooden table", "the round wooden table"), ("legs", "the legs")]),
        ("a hand, a cue", [("hand", "the hand"), ("cue", "the cue")]),
        ("hand, cue", [("hand", "the hand"), ("cue", "the cue")]),
        ("Which one is hit first, left or right, and why?", []),
        ("", []),
        ("Äpfel und Öl", [("Äpfel und Öl", "the äpfel und öl")]),
    ],
)  # fmt: skip
def test_a_text_names_listed_things_first_and_runs_of_content_words_else(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    ("thing", "name"), [("The red ball", "red ball"), ("a cue", "cue"), ("the", ""), ("ball", "ball")]
)
def test_a_name_has_no_article(thing, name):
    assert name_of(thing) == name


def test_rows_are_those_of_the_users_words_in_a_chat():
    turns = [
        Turn("user", "<video>\nDoes the cue ball hit the red ball?"),
        Turn("model", "The red ball."),
        Turn("user", "Where is a dog?"),
    ]
    ids = expand(prompt_ids(turns, TOKENIZER), None, 3)[0]
    assert named(ids) == {"the cue ball": "cue ball", "the red ball": "red ball", "the dog": "dog"}
    words = WordFinder(TOKENIZER, THINGS)(ids)
    assert not words.rows[ids == VIDEO_ID].any()


def test_training_and_chat_find_the_same_words():
    turns = [
        Turn("user", "<video>\nIs the red ball left of the dog?"),
        Turn("model", "Yes."),
        Turn("user", "And the ball?"),
    ]
    finder = WordFinder(TOKENIZER, THINGS)
    chat = prompt_ids(turns, TOKENIZER)
    trained = training_example([*turns, Turn("model", "The red ball.")], 1, TOKENIZER).ids
    assert trained[: len(chat)].tolist() == chat.tolist()
    rows = finder(trained)
    assert rows.rows[: len(chat)].tolist() == finder(chat).rows.tolist() and not rows.rows[len(chat) :].any()


def test_a_phrase_that_occurs_twice_has_one_number():
    ids = prompt_ids(
        [Turn("user", "the red ball and the red ball"), Turn("model", "Yes."), Turn("user", "red ball?")], TOKENIZER
    )
    words = WordFinder(TOKENIZER, THINGS)(ids)
    assert words.phrases == ("the red ball",) and set(words.rows.tolist()) == {0, 1}


def test_the_numbers_of_clips_name_nothing():
    turns = [Turn("user", "<video>\n<video>\nIs the red ball in both, or 3 balls?")]
    ids = expand(prompt_ids(turns, TOKENIZER), None, 3)[0]
    assert TOKENIZER.decode(ids.tolist()).startswith("user\nImage 1:") and "Image 2:" in TOKENIZER.decode(ids.tolist())
    assert named(ids) == {"the red ball": "red ball", "the 3 balls": "3 balls"}


def test_characters_of_several_bytes_and_tokens_keep_their_places():
    ids = prompt_ids([Turn("user", "😀 Is the é ball red? 球 the red ball")], TOKENIZER)
    assert named(ids)["the red ball"] == "red ball"


def test_words_after_the_largest_bucket_keep_the_latest_phrases():
    most, surplus = PHRASE_BUCKETS[-1], 5
    names = ["".join(chr(ord("a") + int(digit)) for digit in f"{number:03}") for number in range(most + surplus)]
    ids = prompt_ids([Turn("user", " and ".join(f"the x{name}x" for name in names))], TOKENIZER)
    words = WordFinder(TOKENIZER, ())(ids)
    assert words.phrases == tuple(f"the x{name}x" for name in names[surplus:])
    assert set(words.rows.tolist()) == set(range(most + 1))
    for number in (1, most):
        assert TOKENIZER.decode(ids[words.rows == number].tolist()).strip() == f"x{names[surplus + number - 1]}x"


def test_a_finder_can_be_sent_to_a_worker():
    finder = pickle.loads(pickle.dumps(WordFinder(TOKENIZER, THINGS)))
    assert named(prompt_ids([Turn("user", "the cue ball")], TOKENIZER), finder) == {"the cue ball": "cue ball"}


def test_only_content_tokens_of_a_phrase_count():
    ids, content = phrase_tokens("the red ball")
    assert ids.shape == content.shape == (PHRASE_LENGTH,)
    assert content.tolist() == [False, False, True, True] + [False] * 12


def test_things_have_the_ids_of_words_in_a_sentence():
    things = encode_things(THINGS, TOKENIZER)
    assert [TOKENIZER.decode(row[row > 0].tolist()) for row in things.ids] == [" cue ball", " red ball", " ball"]
    assert encode_things((), TOKENIZER).ids.shape == (0, 1) and things.content.sum(1).tolist() == [2, 2, 1]
