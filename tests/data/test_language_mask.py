import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.data import language_mask
from hilight_jax.data.records import Caption, Span, object_id
from hilight_jax.data.tokenizers import ClipTokenizer

TEXT = "the red 3-ball drops into it"  # start the red 3 - ball drops into it end pad
SPANS = (Span(0, 14, "ball", "ball:3"),)


def masked(name, caption, length=11):
    return language_mask.local_mask(name, caption, ClipTokenizer(length)(caption.text)).astype(int).tolist()


def test_none_takes_every_position_and_padding_the_real_ones():
    assert masked("none", Caption(TEXT)) == [1] * 11
    assert masked("padding", Caption(TEXT)) == [1] * 10 + [0]


def test_content_is_inside_spans_without_function_words_and_punctuation():
    assert masked("content", Caption(TEXT, SPANS)) == [0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0]


def test_without_spans_content_is_what_the_word_lists_leave():
    assert masked("content", Caption(TEXT)) == [0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    assert masked("content", Caption("it's a good idea that shows skill")) == [0] * 11


def test_no_spans_at_all_is_not_the_same_as_unknown_spans():
    assert masked("content", Caption(TEXT, ())) == [0] * 11


def test_only_content_words_name_an_object():
    objects = language_mask.token_objects(Caption(TEXT, SPANS), ClipTokenizer(11)(TEXT))
    ball = object_id("ball:3")
    assert objects.tolist() == [0, 0, ball, ball, 0, ball, 0, 0, 0, 0, 0]


def test_object_ids_are_stable_and_positive():
    assert object_id("ball:3") == 2062062751  # CRC-32, the same on every machine and in every run.
    assert 0 < object_id("cue") < 2**31


def test_an_unknown_mask_is_refused():
    with pytest.raises(ConfigError, match="language_mask is 'nouns', but it must be one of none, padding, content"):
        masked("nouns", Caption(TEXT))
