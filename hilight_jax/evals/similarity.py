"""Similarity of a word of the caption to every patch of the clip, computed as in the local losses.

A word's vector at every tapped level is the mean of its tokens' local features, so its map over the patches is the
mean of its tokens' maps. Several levels are averaged with the levels' weights. Two similarities, as the two contrasts
have them: 'dot', the raw dot product of SPARC (within a clip), and 'cosine' (across clips).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def word_vectors(
    text_local: Sequence[Float[np.ndarray, "L E"]], tokens: Sequence[int], similarity: str
) -> Float[np.ndarray, "levels E"]:
    """Mean local feature, at every tapped level, of a word's content tokens, given by their positions.

    For 'cosine' (across-clips contrast) tokens are made unit vectors first; for 'dot' (SPARC) they are raw.
    """
    features = np.stack([np.asarray(level, np.float64)[list(tokens)] for level in text_local])
    return _prepare(features, similarity).mean(1)


def word_maps(
    video_local: Sequence[Float[np.ndarray, "F P E"]],
    words: Float[np.ndarray, "W levels E"],
    level_weights: Sequence[float],
    similarity: str,
) -> Float[np.ndarray, "W F P"]:
    """Similarity of W words to every patch, averaged over the levels by `level_weights`."""
    return np.tensordot(level_weights, level_maps(video_local, words, similarity), 1)


def level_maps(
    video_local: Sequence[Float[np.ndarray, "F P E"]], words: Float[np.ndarray, "W levels E"], similarity: str
) -> Float[np.ndarray, "levels W F P"]:
    """Similarity of W words to every patch at each level by itself."""
    patches = (_prepare(np.asarray(level, np.float64), similarity) for level in video_local)
    return np.stack([np.einsum("WE,FPE->WFP", words[:, level], x) for level, x in enumerate(patches)])


def pooling_weights(maps: Float[np.ndarray, "*W F P"], similarity: str) -> Float[np.ndarray, "*W F P"]:
    """Maps as shares of each frame, in the manner in which the loss of that similarity pools patches.

    'dot': SPARC's, min-max over the frame, zero below 1 / P. 'cosine': softmax of 10 times the cosine. Rows sum to 1;
    a constant map is uniform.
    """
    if similarity == "dot":
        low, high = maps.min(-1, keepdims=True), maps.max(-1, keepdims=True)
        scaled = np.where(high > low, (maps - low) / np.where(high > low, high - low, 1.0), 1.0)
        weights = np.where(scaled < 1.0 / scaled.shape[-1], 0.0, scaled)
    else:
        weights = np.exp(10.0 * (maps - maps.max(-1, keepdims=True)))
    return weights / weights.sum(-1, keepdims=True)


def _prepare(features, similarity):
    if similarity == "dot":
        return features
    if similarity != "cosine":
        raise ValueError(f"similarity is {similarity!r}; it can be 'cosine' or 'dot'.")
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
