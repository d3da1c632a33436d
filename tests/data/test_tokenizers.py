import numpy as np
import pytest

from hilight_jax.data import tokenizers
from hilight_jax.data.tokenizers import ClipTokenizer


def test_ids_are_those_of_openais_tokenizer():
    # From OpenAI's and Hugging Face's documentation of CLIP's vocabulary.
    ids = ClipTokenizer(8)("a photo of a cat").ids
    assert ids.tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]


def test_every_token_knows_its_characters():
    text = "the red 3-ball drops"
    tokens = ClipTokenizer(12)(text)
    named = [text[first:last] for first, last in tokens.spans[tokens.mask][1:-1].tolist()]
    assert named == ["the", "red", "3", "-", "ball", "drops"]
    assert tokens.spans[0].tolist() == [0, 0] and tokens.spans[7:].tolist() == [[0, 0]] * 5
    assert tokens.mask.tolist() == [True] * 8 + [False] * 4


def test_parts_of_a_rare_word_split_its_characters():
    text = "xylozimpf"
    ids, spans = tokenizers.encode(text)
    assert len(ids) > 1
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
    assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))


@pytest.mark.parametrize(
    ("text", "word", "piece"),
    [
        ("  the \n  Red   ball ", "red", "Red"),
        ("the &lt;b&gt; red ball", "red", "red"),
        ("café ” red ball", "red", "red"),
        ("THE   RED BALL", "ball", "BALL"),
    ],
)
def test_spans_point_into_the_text_as_it_was_given(text, word, piece):
    ids, spans = tokenizers.encode(text)
    (wanted,) = tokenizers.encode(word)[0]
    first, last = spans[ids.index(wanted)]
    assert text[first:last] == piece


def test_case_space_and_entities_do_not_change_the_ids():
    ids = tokenizers.encode("a red & blue ball")[0]
    assert tokenizers.encode("  A  RED\t&amp;amp; Blue\nball ")[0] == ids


def test_a_long_text_is_cut_and_keeps_its_end_token():
    tokens = ClipTokenizer(6)("one two three four five six")
    assert tokens.truncated and tokens.mask.all()
    assert tokens.ids[0] == 49406 and tokens.ids[-1] == 49407
    assert not ClipTokenizer(8)("one two three four five six").truncated


def test_empty_text_is_start_and_end():
    tokens = ClipTokenizer(4)("")
    assert tokens.ids.tolist() == [49406, 49407, 0, 0]
    assert tokens.mask.tolist() == [True, True, False, False]


def test_a_capital_with_a_longer_small_form_shifts_no_span():
    text = "İstanbul's red ball, İ"
    ids, spans = tokenizers.encode(text)
    assert len(ids) > 6
    (red,), (ball,) = (tokenizers.encode(word)[0] for word in ("red", "ball"))
    assert [text[slice(*spans[ids.index(word)])] for word in (red, ball)] == ["red", "ball"]
    assert spans[0][0] == 0 and spans[-1][1] == len(text)


def test_the_vocabulary_has_49408_entries():
    vocabulary = tokenizers.vocabulary()
    assert len(vocabulary.ids) == tokenizers.VOCABULARY_SIZE
    assert len(vocabulary.ranks) == 48894


def test_padding_is_zero_so_that_the_end_token_is_the_largest_id():
    assert np.argmax(ClipTokenizer(77)("a ball").ids) == 3
