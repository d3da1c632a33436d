"""Text-to-video and video-to-text retrieval from embeddings.

Rules. Similarity is the cosine in float64, so that figures do not depend on float32 summation order.
Every caption is one text-to-video query; a video-to-text query counts the best rank among the video's own captions,
its other captions not being rivals. Ties count against the model: a rival whose score is equal to the right answer's
within one part in a million, or not a number, ranks before it, so a collapsed model scores nothing.

Dual-softmax rescoring (DSL) needs all queries at once, which a search engine does not have: its figures stand beside
the plain ones, never instead of them (CAMoE, arXiv 2109.04290; in CLIP-ViP: src/tasks/run_video_retrieval.py). Words
(`ops/word_scores.py`) need one query and its candidates only.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.evals.intervals import influences, mean_interval
from hilight_jax.ops.word_scores import WORD_WEIGHT, shortlist, word_scores

RECALLS = (1, 5, 10)
DSL_SCALE = 100.0  # the factor CLIP-ViP puts before its softmax
TIE_TOLERANCE = 1e-6


def retrieval_metrics(
    video_embeds: Float[np.ndarray, "num_videos E"],
    text_embeds: Float[np.ndarray, "num_texts E"],
    video_of_text: Int[np.ndarray, " num_texts"],
    words: Float[np.ndarray, "num_texts num_videos"] | None = None,
    word_weight: float = WORD_WEIGHT,
    num_listed: int | None = None,
) -> dict:
    """Scores retrieval in both directions, plainly, with the help of words, and with dual-softmax rescoring.

    Embeddings need not be unit vectors. `video_of_text` is the row of `video_embeds` that each caption describes; every
    video needs a caption. The `words` are how well the things that a text names are found in a video; they count with
    `word_weight` in a shortlist of `num_listed` candidates of each query, or in all.

    Returns:
      `{'num_videos', 'num_texts', 'plain': S, 'dsl_clip_vip': S, 'dsl_both_ways': S}`, and with words `{'words': S,
      'word_weight', 'shortlist'}`. S is `{'text_to_video': ranks, 'video_to_text': ranks}` and ranks holds 'R@1',
      'R@5', 'R@10' (shares of queries), 'interval' (of R@1, 95 %, over videos), 'median_rank' and 'mean_rank' (1 is
      best).

    Raises:
      ValueError: an index points outside the videos, or a video has no caption.
    """
    num_videos, num_texts = len(video_embeds), len(text_embeds)
    video_of_text = np.asarray(video_of_text)
    captioned = np.unique(video_of_text)
    if not np.array_equal(captioned, np.arange(num_videos)):
        raise ValueError(
            f"video_of_text must name each of the {num_videos} videos at least once and nothing else; "
            f"it names {len(captioned)} values from {captioned.min(initial=0)} to {captioned.max(initial=0)}."
        )
    similarity = _unit(text_embeds) @ _unit(video_embeds).T
    over_texts, over_videos = dual_softmax(similarity, axis=0), dual_softmax(similarity, axis=1)

    def both_directions(text_to_video, video_to_text):
        return {
            "text_to_video": summarise_ranks(text_to_video_ranks(text_to_video, video_of_text), video_of_text),
            "video_to_text": summarise_ranks(video_to_text_ranks(video_to_text, video_of_text), np.arange(num_videos)),
        }

    def with_words(similarity, words):
        listed = None if num_listed is None else shortlist(similarity, num_listed)
        return word_scores(similarity, words, listed, word_weight)

    helped = {}
    if words is not None:
        both = both_directions(with_words(similarity, words), with_words(similarity.T, words.T).T)
        helped = {"words": both, "word_weight": word_weight, "shortlist": num_listed}
    return {
        "num_videos": num_videos,
        "num_texts": num_texts,
        "plain": both_directions(similarity, similarity),
        **helped,
        "dsl_clip_vip": both_directions(over_texts, over_texts),
        "dsl_both_ways": both_directions(over_texts, over_videos),
    }


def recall_influences(
    video_embeds: Float[np.ndarray, "num_videos E"],
    text_embeds: Float[np.ndarray, "num_texts E"],
    video_of_text: Int[np.ndarray, " num_texts"],
) -> Float[np.ndarray, " num_videos"]:
    """The influence of every video on the plain text-to-video R@1, see `intervals.influences`."""
    ranks = text_to_video_ranks(_unit(text_embeds) @ _unit(video_embeds).T, np.asarray(video_of_text))
    counts = np.bincount(video_of_text, minlength=len(video_embeds))
    return influences(np.stack([counts, np.bincount(video_of_text, ranks <= 1, len(video_embeds))], axis=1))


def dual_softmax(
    similarity: Float[np.ndarray, "num_texts num_videos"], axis: int, scale: float = DSL_SCALE
) -> Float[np.ndarray, "num_texts num_videos"]:
    """Weighs every score by how much its candidate prefers this query among all queries: `s * softmax(scale * s)`.

    CLIP-ViP takes the softmax over axis 0, the texts, and reads both directions from that one matrix
    (`dsl_clip_vip`), so its video-to-text rows are scaled by a plain softmax over their own candidates. Normalising
    over the queries of each direction, axis 0 for text-to-video and axis 1 for video-to-text, is `dsl_both_ways`.
    As there, a negative score with a small weight moves up: cosines of a trained model are seldom negative.
    """
    logits = scale * similarity.astype(np.float64)
    weights = np.exp(logits - logits.max(axis, keepdims=True))
    return similarity * weights / weights.sum(axis, keepdims=True)


def text_to_video_ranks(
    scores: Float[np.ndarray, "num_texts num_videos"], video_of_text: Int[np.ndarray, " num_texts"]
) -> Int[np.ndarray, " num_texts"]:
    """Rank of each caption's video among all videos: 1 + the videos that score at least as high."""
    right = np.take_along_axis(scores, video_of_text[:, None], axis=1)
    return _not_below(scores, right).sum(1)  # the right video is not below itself: it supplies the 1


def video_to_text_ranks(
    scores: Float[np.ndarray, "num_texts num_videos"], video_of_text: Int[np.ndarray, " num_texts"]
) -> Int[np.ndarray, " num_videos"]:
    """Best rank among each video's own captions: 1 + the foreign captions that score at least as high as the best."""
    own = video_of_text[:, None] == np.arange(scores.shape[1])
    best = np.where(own, scores, -np.inf).max(0)
    return 1 + (_not_below(scores, best) & ~own).sum(0)


def summarise_ranks(
    ranks: Int[np.ndarray, " num_queries"], video_of_query: Int[np.ndarray, " num_queries"]
) -> dict[str, Any]:
    """Recalls at 1, 5 and 10 (shares of queries), the interval of the first, median and mean of ranks from 1."""
    recalls = {f"R@{k}": float(np.mean(ranks <= k)) for k in RECALLS}
    interval = mean_interval(ranks <= 1, video_of_query)
    return {
        **recalls,
        "interval": interval,
        "median_rank": float(np.median(ranks)),
        "mean_rank": float(np.mean(ranks)),
    }


def _not_below(scores, right):
    # Written as a negation so that a NaN on either side counts against the model.
    return ~(scores < right - TIE_TOLERANCE * np.abs(right))


def _unit(embeds):
    embeds = np.asarray(embeds, np.float64)
    return embeds / np.maximum(np.linalg.norm(embeds, axis=-1, keepdims=True), 1e-12)
