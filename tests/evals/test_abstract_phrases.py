"""Captions that differ in an abstract phrase alone, on vectors that can be compared by hand."""

import numpy as np
import pytest

from hilight_jax.data.records import Caption, Span
from hilight_jax.data.tokenizers import ClipTokenizer, encode
from hilight_jax.evals.abstract_phrases import Rephrased, abstract_phrase, compare_phrases, encode_rephrased
from hilight_jax.evals.encoder_evaluation import evaluate_encoder, headline
from hilight_jax.evals.result_tables import encoder_tables
from tests.evals.coloured_discs import SETS, ColouredDiscs, ColourEncoder

RIGHT, UP, LEFT = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([-1.0, 0.0])
RED = (Span(0, 12, "ball", "ball:red"),)


@pytest.mark.parametrize(
    ("caption", "phrase"),
    [
        (Caption("The red ball drops. What a shot.", RED), "What a shot."),
        (Caption("The red ball drops! Who would have thought it?", RED), "Who would have thought it?"),
        (Caption("The red ball drops.", RED), None),
        (Caption("What a shot. The red ball drops.", (Span(13, 25, "ball", "ball:red"),)), None),
        (Caption("A man walks. What a shot.", ()), None),
        (Caption("A man walks. What a shot."), None),
    ],
)
def test_a_last_sentence_that_names_nothing_is_an_abstract_phrase(caption, phrase):
    assert abstract_phrase(caption) == phrase


def test_a_caption_is_right_when_none_of_its_variants_is_nearer_to_the_clip():
    texts = np.array([[RIGHT, UP], [RIGHT, UP], [UP, UP]])
    found = compare_phrases(Rephrased(texts, np.array([2, 4, 9]), np.array([0, 0, 1])), {2: RIGHT, 4: UP, 9: UP})
    assert (found["captions"], found["phrases"], found["most_frequent"]) == (3, 2, pytest.approx(2 / 3))
    assert found["right"] == pytest.approx(1 / 3), "the first; the last is a tie"


def test_retrieval_is_asked_with_the_own_phrase_and_with_the_next():
    texts = np.array([[RIGHT, LEFT], [LEFT, RIGHT]])
    rephrased = Rephrased(texts, np.array([0, 1]), np.array([0, 0]))
    found = compare_phrases(rephrased, {0: RIGHT, 1: LEFT})
    assert (found["R@1"], found["R@1_rephrased"]) == (1.0, 0.0)
    assert compare_phrases(rephrased, {0: RIGHT})["captions"] == 1
    assert compare_phrases(rephrased, {5: RIGHT}) is None


class TalkingDiscs(ColouredDiscs):
    """Coloured discs; every other caption ends with another phrase, the last with one that no other has."""

    phrases = ("What a shot.", "Well played.")

    def __getitem__(self, index):
        record = super().__getitem__(index)
        phrase = "Good game." if index == len(SETS) - 1 else self.phrases[index % 2]
        (caption,) = record.captions
        return record._replace(captions=(Caption(f"{caption.text}. {phrase}", caption.spans),))


class PartialEncoder(ColourEncoder):
    """Reads colours and, in a corner of its embedding, the word 'played'."""

    def encode_text(self, text_ids, text_mask):
        out = dict(super().encode_text(text_ids, text_mask))
        said = (np.asarray(text_ids) == encode("played")[0][0]).any(axis=1)
        out["text_embeds"] = np.asarray(out["text_embeds"]) * np.where(said, 0.5, 1.0)[:, None]
        return out


def test_phrases_of_a_single_clip_and_captions_that_are_cut_are_left_out():
    encoder, source = ColourEncoder(), TalkingDiscs()
    found = encode_rephrased(encoder.encode_text, source, 7, 4, ClipTokenizer(24))
    assert found.embeds.shape[:2] == (6, 2) and found.clip.tolist() == [*range(6)]
    assert found.own.tolist() == [1, 0] * 3, "phrases are in the order of the alphabet"
    without = encode_rephrased(encoder.encode_text, source, 7, 4, ClipTokenizer(24), {"discs/0"})
    assert without.clip.tolist() == [1, 2, 3, 4, 5]
    assert encode_rephrased(encoder.encode_text, source, 7, 4, ClipTokenizer(7)) is None
    assert encode_rephrased(encoder.encode_text, source, 1, 4, ClipTokenizer(24)) is None


def test_an_encoder_that_does_not_read_phrases_is_never_right_and_loses_nothing():
    result = evaluate_encoder(ColourEncoder(), TalkingDiscs())
    found = result["abstract_phrases"]
    assert (found["captions"], found["right"], found["most_frequent"]) == (6, 0.0, 0.5)
    assert found["R@1"] == found["R@1_rephrased"] == 1.0
    assert headline(result, "validation")["validation/phrases_right"] == 0.0
    names = {"name": "discs", "source": "discs", "step": 1, "which": "latest", "map_levels": ["embedding"]}
    line = next(x for x in encoder_tables({**names, **result}).splitlines() if x.startswith("caption nearest of 2"))
    assert line.split()[4:] == ["0.000", "0.00-0.00", "0.500", "1.000", "1.000", "6"]
    assert evaluate_encoder(ColourEncoder(batch_size=5), TalkingDiscs()) == result


def test_an_encoder_that_prefers_a_phrase_is_right_where_it_is_the_own_one():
    result = evaluate_encoder(PartialEncoder(), TalkingDiscs())
    assert result["abstract_phrases"]["right"] == 0.5, "the three clips that end with 'What a shot.'"


def test_data_without_phrases_has_no_figure():
    result = evaluate_encoder(ColourEncoder(), ColouredDiscs())
    assert result["abstract_phrases"] is None
    assert not [name for name in headline(result, "validation") if "phrases" in name]


def test_they_are_left_out_during_training():
    assert evaluate_encoder(ColourEncoder(), TalkingDiscs(), with_phrases=False)["abstract_phrases"] is None
