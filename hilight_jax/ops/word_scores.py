"""Scores clips by the things that a text names, beside the similarity of the whole text and the whole clip.

For a text with the named things k and the candidate clips c,

    a[c]     = mean_k max_FP thing[k, E] · patch[c, F, P, E]
    score[c] = s[c] + weight * spread(s) / spread(a) * (a[c] - mean_c a),    spread(x) = max(std_c x, MIN_SPREAD)

where s is the cosine of the two embeddings, and the product of thing and patch the cosine of their local features. The
best patch of each thing shows if the thing is in the clip at all, which one embedding of a whole clip blurs. Nothing is
trained for it. The score is, in units of s, the standardised s plus `weight` times the standardised a; standardising
over the candidates brings both to one scale. Other texts play no part, so a search engine has all that it takes.

A single candidate keeps its s. Candidates that hardly differ, like windows of a video that always shows the thing, are
not pulled apart: a spread below MIN_SPREAD counts as MIN_SPREAD. Where a text names nothing, all keep their s.

Cost: a takes F * P * E multiplications for each thing and clip, where s takes E for each text and clip. So a search
computes a for a shortlist alone, the candidates of the highest s. They are standardised and ordered among themselves;
the others follow in the order of s. Products are made for one clip and up to `CHUNK` things at a time, and only
F * P * CHUNK of them exist at once.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hilight_jax.ops.vectors import PRECISION

WORD_WEIGHT = 0.25  # Chosen on training clips, docs/evaluation.md.
# Of cosines, whose standard deviations over 256 clips of the demo's world are 0.42 (s) and 0.11 (a).
MIN_SPREAD = 0.01
CHUNK = 1024
# Things are filled up to a multiple of it, so that texts share a compiled program.
_MULTIPLE = 8


def thing_vectors(
    tokens: Float[np.ndarray, "L E"], things: Sequence[Int[np.ndarray, " tokens"]]
) -> Float[np.ndarray, "num_things E"]:
    """Returns the unit vector of each thing: the direction of the mean of its tokens, which are given by position."""
    means = np.stack([tokens[positions].mean(0) for positions in things]) if things else np.zeros_like(tokens[:0])
    return means / np.maximum(np.linalg.norm(means, axis=-1, keepdims=True), 1e-12)


def best_cosines(
    things: Float[np.ndarray, "num_things E"], patches: Float[np.ndarray, "B F P E"]
) -> Float[np.ndarray, "num_things B"]:
    """Returns the cosine of each thing with its best patch in each clip, on the device; all are unit vectors."""
    found = [np.zeros((0, len(patches)), np.float32)]
    patches = jnp.asarray(patches)
    for start in range(0, len(things), CHUNK):
        part = np.asarray(things[start : start + CHUNK], np.float32)
        padding = (CHUNK - len(part)) if len(things) > CHUNK else -len(part) % _MULTIPLE
        found.append(np.asarray(_best(np.pad(part, ((0, padding), (0, 0))), patches))[: len(part)])
    return np.concatenate(found)


@jax.jit
def _best(things: Float[Array, "num_things E"], patches: Float[Array, "B F P E"]) -> Float[Array, "num_things B"]:
    def of_clip(clip: Float[Array, "F P E"]) -> Float[Array, " num_things"]:
        vectors = clip.reshape(-1, clip.shape[-1]).astype(jnp.float32)
        return jnp.matmul(things, vectors.T, precision=PRECISION).max(1)

    return jax.lax.map(of_clip, patches).T


def mean_over_things(
    best: Float[np.ndarray, "num_things C"], num_things: Sequence[int]
) -> Float[np.ndarray, "num_texts C"]:
    """Averages the cosines of each text's things, which follow each other; 0 for a text that names none."""
    texts = np.repeat(np.arange(len(num_things)), num_things)
    sums = np.zeros((len(num_things), best.shape[1]))
    np.add.at(sums, texts, best)
    return sums / np.maximum(num_things, 1)[:, None]


def shortlist(similarity: Float[np.ndarray, "*texts C"], num: int) -> Int[np.ndarray, "*texts N"]:
    """Numbers of the `num` candidates of the highest similarity, the best first; of all if there are fewer."""
    return np.argsort(-np.asarray(similarity, np.float64), axis=-1, kind="stable")[..., :num]


def word_scores(
    similarity: Float[np.ndarray, "*texts C"],
    words: Float[np.ndarray, "*texts C"],
    listed: Int[np.ndarray, "*texts N"] | None = None,
    weight: float = WORD_WEIGHT,
) -> Float[np.ndarray, "*texts C"]:
    """Scores the candidates of each text; all of them, or those listed.

    Args:
      similarity: s, cosines of the embeddings.
      words: a; read where a candidate is listed.
      listed: Numbers of the candidates of the shortlist; the others score less than every listed one, in the order of
        their similarity.
      weight: Weight of the words.
    """
    similarity = np.asarray(similarity, np.float64)
    if listed is None:
        words = np.asarray(words, np.float64)
        return similarity + weight * _spread(similarity) / _spread(words) * (words - words.mean(-1, keepdims=True))
    near, found = (np.take_along_axis(np.asarray(x), listed, -1) for x in (similarity, words))
    scores = word_scores(near, found, weight=weight)
    others = similarity + (scores.min(-1, keepdims=True) - near.min(-1, keepdims=True)) - MIN_SPREAD
    np.put_along_axis(others, listed, scores, -1)
    return others


def _spread(values: Float[np.ndarray, "*texts C"]) -> Float[np.ndarray, "*texts 1"]:
    return np.maximum(values.std(-1, keepdims=True), MIN_SPREAD)
