"""Word maps over patches, with numbers small enough to check by hand."""

import numpy as np
import pytest

from hilight_jax.evals.similarity import pooling_weights, word_maps, word_vectors

PATCHES = np.array([[[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])  # one frame, three patches


def test_a_words_map_is_the_mean_of_its_tokens_maps():
    text = (np.array([[0.0, 3.0], [1.0, 0.0], [5.0, 5.0]]),)
    for similarity, expected in (("dot", [[1.0, 1.5, 2.0]]), ("cosine", [[0.5, 0.5, 0.5**0.5]])):
        word = word_vectors(text, [0, 1], similarity)
        np.testing.assert_allclose(word_maps((PATCHES,), word[None], (1.0,), similarity)[0], expected)


def test_levels_are_averaged_by_their_weights():
    words = np.array([[[1.0, 0.0], [0.0, 1.0]]])  # one word, two levels
    maps = word_maps((PATCHES, PATCHES), words, (0.25, 0.75), "dot")
    np.testing.assert_allclose(maps[0], [[0.5, 0.75, 1.0]])


def test_sparse_weights_are_spread_between_the_extremes_and_cut_below_one_patch_share():
    np.testing.assert_allclose(pooling_weights(np.array([[0.0, 1.0, 5.0, 10.0]]), "dot"), [[0.0, 0.0, 1 / 3, 2 / 3]])


def test_softmax_weights_are_those_of_the_across_clips_loss():
    expected = np.exp([0.0, 5.0]) / np.exp([0.0, 5.0]).sum()
    np.testing.assert_allclose(pooling_weights(np.array([[0.1, 0.6]]), "cosine"), [expected])


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_flat_map_weighs_all_patches_alike(similarity):
    np.testing.assert_allclose(pooling_weights(np.full((2, 4), 0.7), similarity), np.full((2, 4), 0.25))


def test_an_unknown_similarity_is_refused():
    with pytest.raises(ValueError, match="'cosine' or 'dot'"):
        word_vectors((PATCHES[0],), [0], "euclidean")
