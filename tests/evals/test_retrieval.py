"""Ranks, ties, several captions per video, and dual-softmax values that can be checked by hand."""

import numpy as np
import pytest

from hilight_jax.evals import retrieval
from tests.shapes import check_shapes

ONE_TO_ONE = np.arange(3)
SCORES = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.7], [0.1, 0.6, 0.4]])


def test_ranks_of_a_small_matrix():
    assert retrieval.text_to_video_ranks(SCORES, ONE_TO_ONE).tolist() == [1, 3, 2]
    assert retrieval.video_to_text_ranks(SCORES, ONE_TO_ONE).tolist() == [1, 2, 2]


def test_summary_of_ranks():
    summary = retrieval.summarise_ranks(np.array([1, 3, 6, 20]), np.arange(4))
    assert summary.pop("interval") == [0.0, 0.75]  # One of four videos, drawn 0 to 3 times out of four.
    assert summary == {"R@1": 0.25, "R@5": 0.5, "R@10": 0.75, "median_rank": 4.5, "mean_rank": 7.5}


def test_ties_count_against_the_model():
    flat = np.full((4, 4), 0.3)
    assert retrieval.text_to_video_ranks(flat, np.arange(4)).tolist() == [4, 4, 4, 4]
    assert retrieval.video_to_text_ranks(flat, np.arange(4)).tolist() == [4, 4, 4, 4]


def test_a_collapsed_model_scores_nothing_in_spite_of_rounding():
    noise = 1e-8 * np.random.default_rng(0).normal(size=(2, 20, 16))
    video, text = (1.0 + noise).astype(np.float32)
    metrics = retrieval.retrieval_metrics(video, text, np.arange(20))
    assert metrics["plain"]["text_to_video"]["mean_rank"] == 20.0


def test_a_collapsed_model_scores_nothing_with_words_either():
    video, text, words = (1.0 + 1e-8 * np.random.default_rng(0).normal(size=(3, 20, 20))).astype(np.float32)
    metrics = retrieval.retrieval_metrics(video, text, np.arange(20), words)
    for direction in ("text_to_video", "video_to_text"):
        assert metrics["words"][direction]["mean_rank"] == 20.0


def test_words_help_both_directions_and_stand_beside_the_plain_figures():
    # Embeddings cannot tell the first two clips apart; the second text's things are in the second clip alone.
    video = text = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    words = np.array([[0.9, 0.5, 0.5], [0.5, 0.9, 0.5], [0.5, 0.5, 0.9]])
    metrics = retrieval.retrieval_metrics(video, text, np.arange(3), words)
    assert metrics["plain"]["text_to_video"]["R@1"] == metrics["plain"]["video_to_text"]["R@1"] == pytest.approx(1 / 3)
    assert metrics["words"]["text_to_video"]["R@1"] == metrics["words"]["video_to_text"]["R@1"] == 1.0
    assert metrics["word_weight"] == 0.25 and metrics["shortlist"] is None
    without = retrieval.retrieval_metrics(video, text, np.arange(3), words, word_weight=0.0)
    assert without["words"] == without["plain"]
    assert "words" not in retrieval.retrieval_metrics(video, text, np.arange(3))


def test_words_cannot_find_what_the_shortlist_left_out():
    video, text = np.eye(3), np.array([[0.9, 0.1, 0.2], [0.9, 0.1, 0.2], [0.0, 0.0, 1.0]])
    words = np.eye(3)
    short = retrieval.retrieval_metrics(video, text, np.arange(3), words, word_weight=9.0, num_listed=1)
    assert short["words"]["text_to_video"] == short["plain"]["text_to_video"] and short["shortlist"] == 1
    all_listed = retrieval.retrieval_metrics(video, text, np.arange(3), words, word_weight=9.0)
    assert all_listed["words"]["text_to_video"]["R@1"] == 1.0


def test_not_a_number_never_wins():
    scores = SCORES.copy()
    scores[0, 0] = np.nan
    assert retrieval.text_to_video_ranks(scores, ONE_TO_ONE)[0] == 3
    assert retrieval.video_to_text_ranks(scores, ONE_TO_ONE)[0] == 3


def test_a_video_is_found_by_its_best_caption_and_its_others_are_no_rivals():
    video_of_text = np.array([0, 0, 1])
    scores = np.array([[0.9, 0.1], [0.8, 0.7], [0.85, 0.6]])
    assert retrieval.text_to_video_ranks(scores, video_of_text).tolist() == [1, 1, 2]
    # Video 0: caption 0 leads, caption 1 is its own. Video 1: foreign caption 1 (0.7) beats its own (0.6).
    assert retrieval.video_to_text_ranks(scores, video_of_text).tolist() == [1, 2]


def test_dual_softmax_over_texts_and_over_videos():
    similarity = np.log([[2.0, 1.0], [6.0, 3.0]])
    by_text = retrieval.dual_softmax(similarity, axis=0, scale=1.0)
    np.testing.assert_allclose(by_text, similarity * [[0.25, 0.25], [0.75, 0.75]], rtol=1e-12)
    by_video = retrieval.dual_softmax(similarity, axis=1, scale=1.0)
    np.testing.assert_allclose(by_video, similarity * [[2 / 3, 1 / 3], [2 / 3, 1 / 3]], rtol=1e-12)


def test_dual_softmax_is_stable_at_a_large_scale():
    assert np.isfinite(retrieval.dual_softmax(SCORES, axis=0, scale=1e6)).all()


def test_clip_vip_reads_both_directions_from_the_softmax_over_texts():
    generator = np.random.default_rng(3)
    video, text = generator.normal(size=(2, 30, 8))
    metrics = retrieval.retrieval_metrics(video, text, np.arange(30))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (text, video)]
    cosine = unit[0] @ unit[1].T
    shares = np.exp(100 * cosine) / np.exp(100 * cosine).sum(0)
    rescored = cosine * shares
    for direction, scores in (("text_to_video", rescored), ("video_to_text", rescored.T)):
        ranks = (scores >= np.diag(scores)[:, None]).sum(1)
        assert metrics["dsl_clip_vip"][direction]["mean_rank"] == ranks.mean()
    assert metrics["dsl_both_ways"]["text_to_video"] == metrics["dsl_clip_vip"]["text_to_video"]
    by_video = cosine * np.exp(100 * cosine) / np.exp(100 * cosine).sum(1, keepdims=True)
    assert metrics["dsl_both_ways"]["video_to_text"]["mean_rank"] == (by_video >= np.diag(by_video)).sum(0).mean()


def test_dual_softmax_stands_beside_the_plain_figures():
    metrics = retrieval.retrieval_metrics(np.eye(12), np.eye(12), np.arange(12))
    assert set(metrics) == {"num_videos", "num_texts", "plain", "dsl_clip_vip", "dsl_both_ways"}
    perfect = {"R@1": 1.0, "R@5": 1.0, "R@10": 1.0, "interval": [1.0, 1.0], "median_rank": 1.0, "mean_rank": 1.0}
    assert metrics["plain"] == {"text_to_video": perfect, "video_to_text": perfect}


def test_every_video_needs_a_caption():
    with pytest.raises(ValueError, match="each of the 3 videos at least once"):
        retrieval.retrieval_metrics(np.eye(3), np.eye(3), np.array([0, 1, 1]))


def test_shapes_are_as_annotated():
    check_shapes(retrieval.retrieval_metrics)(np.eye(3), np.eye(3), np.arange(3))
