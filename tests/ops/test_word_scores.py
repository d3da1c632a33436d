"""Scores of clips by words, on numbers that can be checked by hand."""

import numpy as np
import pytest

from hilight_jax.ops import word_scores as module
from hilight_jax.ops.word_scores import best_cosines, mean_over_things, shortlist, standardise, word_scores


def test_a_things_best_patch_counts():
    things = np.array([[1.0, 0.0], [0.6, 0.8]])
    patches = np.array([[[[0.0, 1.0], [0.8, 0.6]], [[-1.0, 0.0], [0.0, -1.0]]], [[[0.0, 1.0]] * 2, [[0.0, 1.0]] * 2]])
    assert patches.shape == (2, 2, 2, 2)  # two clips of two frames of two patches
    # The first thing: 0.8 in the first clip, 0 in the second. The second: 0.6 * 0.8 + 0.8 * 0.6 = 0.96, and 0.8.
    np.testing.assert_allclose(best_cosines(things, patches), [[0.8, 0.0], [0.96, 0.8]], atol=1e-6)
    np.testing.assert_allclose(best_cosines(things, patches.astype(np.float16)), [[0.8, 0.0], [0.96, 0.8]], atol=1e-3)


def test_chunks_and_padding_change_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    things, patches = generator.normal(size=(21, 4)), generator.normal(size=(3, 2, 5, 4))
    expected = np.einsum("OE,BFPE->OBFP", things, patches).max((2, 3))
    np.testing.assert_allclose(best_cosines(things, patches), expected, rtol=1e-5)
    monkeypatch.setattr(module, "CHUNK", 8)
    np.testing.assert_allclose(best_cosines(things, patches), expected, rtol=1e-5)
    assert best_cosines(np.zeros((0, 4)), patches).shape == (0, 3)


def test_cosines_of_negative_sign_survive_the_padding():
    np.testing.assert_allclose(best_cosines(np.array([[1.0]]), np.full((1, 1, 2, 1), -0.5)), [[-0.5]])


def test_things_of_a_text_are_averaged():
    best = np.array([[0.2, 0.4], [0.6, 0.0], [1.0, 0.5]])
    np.testing.assert_allclose(mean_over_things(best, [2, 0, 1]), [[0.4, 0.2], [0, 0], [1.0, 0.5]])


def test_half_the_standardised_words_join_the_standardised_similarity():
    # Mean 0.4, deviation 0.2; mean 0.7, deviation 0.1. The words turn the first two round.
    similarity, words = np.array([0.6, 0.5, 0.2]), np.array([0.6, 0.8, 0.7])
    deviations = np.sqrt([0.26 / 9, 0.02 / 3])
    expected = (similarity - 1.3 / 3) / deviations[0] + 0.5 * (words - 0.7) / deviations[1]
    np.testing.assert_allclose(word_scores(similarity, words), expected)
    assert expected.argmax() == 1
    np.testing.assert_allclose(word_scores(similarity, words, weight=0.0), standardise(similarity))


def test_every_text_is_scored_by_itself():
    generator = np.random.default_rng(0)
    similarity, words = generator.normal(size=(2, 4, 6))
    one_by_one = [word_scores(s, a) for s, a in zip(similarity, words, strict=True)]
    np.testing.assert_array_equal(word_scores(similarity, words), one_by_one)


def test_one_candidate_scores_nought():
    assert word_scores(np.array([0.3]), np.array([0.9])).tolist() == [0.0]
    assert word_scores(np.array([0.3]), np.array([0.9]), np.array([0])).tolist() == [0.0]


def test_differences_without_weight_are_not_blown_up():
    # Windows of one video: the words differ by 0.001, a tenth of the least spread that counts.
    similarity, words = np.array([0.5, 0.3]), np.array([0.800, 0.802])
    np.testing.assert_allclose(word_scores(similarity, words), [1 - 0.5 * 0.1, -1 + 0.5 * 0.1])
    assert standardise(np.array([0.4, 0.4])).tolist() == [0, 0]


def test_a_text_that_names_nothing_keeps_the_plain_order():
    similarity = np.array([0.1, 0.5, 0.3])
    np.testing.assert_allclose(word_scores(similarity, np.zeros(3)), standardise(similarity))


def test_a_shortlist_is_scored_as_if_it_were_all_and_the_others_follow():
    similarity, words = np.array([0.1, 0.6, 0.3, 0.5]), np.array([0.9, 0.2, 0.9, 0.8])
    listed = shortlist(similarity, 2)
    assert listed.tolist() == [1, 3]
    scores = word_scores(similarity, words, listed)
    # Both deviations turn into 1: 1 - 0.5 and -1 + 0.5.
    np.testing.assert_allclose(scores[listed], [0.5, -0.5])
    assert np.argsort(-scores).tolist() == [1, 3, 2, 0]
    unread = np.where(np.isin(np.arange(4), listed), words, np.nan)
    np.testing.assert_array_equal(word_scores(similarity, unread, listed), scores)


def test_a_shortlist_of_all_is_all():
    similarity, words = np.random.default_rng(0).normal(size=(2, 3, 5))
    np.testing.assert_allclose(word_scores(similarity, words, shortlist(similarity, 9)), word_scores(similarity, words))


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_the_order_does_not_depend_on_the_scale_of_the_words(shift):
    similarity, words = np.random.default_rng(1).normal(size=(2, 8))
    np.testing.assert_allclose(word_scores(similarity, 3 * words + shift), word_scores(similarity, words), atol=1e-9)
