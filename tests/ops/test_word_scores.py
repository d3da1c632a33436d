"""Scores of clips by words, on numbers that can be checked by hand."""

import numpy as np
import pytest

from hilight_jax.ops import word_scores as module
from hilight_jax.ops.word_scores import best_cosines, mean_over_things, shortlist, thing_vectors, word_scores


def test_a_things_best_patch_counts():
    things = np.array([[1.0, 0.0], [0.6, 0.8]])
    patches = np.array([[[[0.0, 1.0], [0.8, 0.6]], [[-1.0, 0.0], [0.0, -1.0]]], [[[0.0, 1.0]] * 2, [[0.0, 1.0]] * 2]])
    assert patches.shape == (2, 2, 2, 2)  # two clips of two frames of two patches
    # The first thing: 0.8 in the first clip, 0 in the second. The second: 0.6 * 0.8 + 0.8 * 0.6 = 0.96, and 0.8.
    np.testing.assert_allclose(best_cosines(things, patches), [[0.8, 0.0], [0.96, 0.8]], atol=1e-6)
    np.testing.assert_allclose(best_cosines(things, patches.astype(np.float16)), [[0.8, 0.0], [0.96, 0.8]], atol=1e-3)


def test_a_thing_is_the_direction_of_the_mean_of_its_tokens():
    tokens = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    vectors = thing_vectors(tokens, [np.array([1, 2]), np.array([3])])
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5], [0, -1]])
    assert thing_vectors(tokens, []).shape == (0, 2)


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


def test_half_the_standardised_words_join_the_similarity_in_its_own_units():
    # Deviations 0.2 and 0.1, so a word's 0.1 counts 0.5 * 0.2 = 0.1; the first two change places.
    similarity, words = np.array([0.7, 0.6, 0.3, 0.2]), np.array([0.5, 0.8, 0.6, 0.7])
    similarity, words = 0.45 + (similarity - 0.45) * 0.2 / similarity.std(), 0.65 + (words - 0.65) * 0.1 / words.std()
    scores = word_scores(similarity, words, weight=0.5)
    np.testing.assert_allclose(scores, similarity + 0.5 * 0.2 * (words - 0.65) / 0.1)
    assert similarity.argmax() == 0 and scores.argmax() == 1
    standardised = (similarity - 0.45) / 0.2 + 0.5 * (words - 0.65) / 0.1
    np.testing.assert_allclose((scores - 0.45) / 0.2, standardised)
    np.testing.assert_array_equal(word_scores(similarity, words, weight=0.0), similarity)


def test_every_text_is_scored_by_itself():
    similarity, words = np.random.default_rng(0).normal(size=(2, 4, 6))
    one_by_one = [word_scores(s, a) for s, a in zip(similarity, words, strict=True)]
    np.testing.assert_allclose(word_scores(similarity, words), one_by_one, rtol=1e-12)


def test_one_candidate_keeps_its_similarity():
    assert word_scores(np.array([0.3]), np.array([0.9])).tolist() == [0.3]
    assert word_scores(np.array([0.3]), np.array([0.9]), np.array([0])).tolist() == [0.3]


def test_differences_too_small_to_count_are_not_blown_up():
    # Windows of one video: the words deviate by 0.001, a tenth of the least spread; the similarity deviates by 0.1.
    similarity, words = np.array([0.5, 0.3]), np.array([0.800, 0.802])
    scores = word_scores(similarity, words, weight=0.5)
    np.testing.assert_allclose(scores, [0.5 - 0.5 * 0.1 * 0.1, 0.3 + 0.5 * 0.1 * 0.1])


def test_words_decide_between_equal_similarities():
    scores = word_scores(np.array([0.4, 0.4]), np.array([0.2, 0.4]), weight=0.5)
    np.testing.assert_allclose(scores, [0.395, 0.405])


def test_a_text_that_names_nothing_keeps_the_similarity():
    similarity = np.array([0.1, 0.5, 0.3])
    np.testing.assert_array_equal(word_scores(similarity, np.zeros(3)), similarity)


def test_a_shortlist_is_scored_as_if_it_were_all_and_the_others_follow():
    similarity, words = np.array([0.1, 0.6, 0.3, 0.4]), np.array([0.9, 0.2, 0.9, 0.8])
    listed = shortlist(similarity, 2)
    assert listed.tolist() == [1, 3]
    scores = word_scores(similarity, words, listed, weight=0.5)
    # Deviations 0.1 and 0.3: 0.6 - 0.5 * 0.1, 0.4 + 0.5 * 0.1.
    np.testing.assert_allclose(scores[listed], [0.55, 0.45])
    np.testing.assert_allclose(scores[[2, 0]], [0.3 + 0.05 - 0.01, 0.1 + 0.05 - 0.01])
    unread = np.where(np.isin(np.arange(4), listed), words, np.nan)
    np.testing.assert_array_equal(word_scores(similarity, unread, listed, weight=0.5), scores)


def test_those_off_the_shortlist_never_pass_those_on_it():
    similarity, words = np.random.default_rng(0).normal(size=(2, 50, 9))
    listed = shortlist(similarity, 4)
    scores = word_scores(similarity, words, listed, weight=5.0)
    on = np.take_along_axis(scores, listed, -1).min(-1)
    np.put_along_axis(scores, listed, -np.inf, -1)
    assert (scores.max(-1) < on).all()


def test_a_shortlist_of_all_is_all():
    similarity, words = np.random.default_rng(0).normal(size=(2, 3, 5))
    np.testing.assert_allclose(word_scores(similarity, words, shortlist(similarity, 9)), word_scores(similarity, words))


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_the_scores_do_not_depend_on_the_scale_of_the_words(shift):
    similarity, words = np.random.default_rng(1).normal(size=(2, 8))
    np.testing.assert_allclose(word_scores(similarity, 3 * words + shift), word_scores(similarity, words), atol=1e-9)
