"""Captions against their swaps: the share of captions that lie nearer to their clip than a false one about other balls.

A swap tells of two balls what the caption tells of them the other way round, in the same words, so a model that reads
balls alone is right by chance, half of the time. Nothing else is: the control `other_clip` asks the same pairs of
another clip's video, and is off a half as far as the two texts can be told apart without a look at the clip.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.data.records import Source
from hilight_jax.data.swaps import has_swaps, read_swaps
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.evals.intervals import bootstrap_interval
from hilight_jax.evals.retrieval import TIE_TOLERANCE
from hilight_jax.evals.text_embeds import EncodeText, text_embeds


class Swapped(NamedTuple):
    """All swaps of a source that can be read to their end, encoded."""

    embeds: Float[np.ndarray, "num_swaps E"]  # unit vectors
    clip: Int[np.ndarray, " num_swaps"]  # number of the record
    caption: Int[np.ndarray, " num_swaps"]  # number of the caption in its record


def encode_swaps(
    encode_text: EncodeText,
    source: Source,
    num_clips: int,
    batch_size: int,
    tokenizer: ClipTokenizer,
    quarantine: Collection[str] = (),
) -> Swapped | None:
    """Encodes the swaps of the first clips, without those in the quarantine; None if there are none."""
    texts = list(_texts(source, num_clips, tokenizer, quarantine))
    if not texts:
        return None
    clips, numbers, tokens = zip(*texts, strict=True)
    return Swapped(text_embeds(encode_text, tokens, batch_size), np.array(clips), np.array(numbers))


def _texts(source, num_clips, tokenizer, quarantine):
    """Yields (clip, number of the caption, tokens)."""
    for index in range(num_clips):
        record = source[index]
        if record.id in quarantine or not has_swaps(record):
            continue
        for swap in read_swaps(record, source.name):
            tokens = tokenizer(swap.text)
            if not tokens.truncated:
                yield index, swap.caption, tokens


def compare_with_swaps(
    swapped: Swapped,
    captions: Mapping[tuple[int, int], Float[np.ndarray, " E"]],
    videos: Mapping[int, Float[np.ndarray, " E"]],
) -> dict[str, Any] | None:
    """Counts the captions that lie nearer to their clip than their swaps; a tie counts against them.

    Args:
      swapped: The swaps.
      captions: Unit vectors of the captions, by numbers of record and caption; a swap of no caption is left out.
      videos: Unit vectors of the clips, by number of the record; swaps of other clips are left out.

    Returns:
      'pairs' and 'clips' that were compared, 'right', the share of pairs, 'interval', its 95 % bootstrap interval over
      clips, and 'other_clip', the share when every pair is shown the next clip; None if there is no pair.
    """
    order = list(videos)
    following = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    clips, right, other = [], [], []
    for false, clip, number in zip(swapped.embeds, swapped.clip.tolist(), swapped.caption.tolist(), strict=True):
        true = captions.get((clip, number))
        if true is None or clip not in videos:
            continue
        clips.append(clip)
        right.append(_is_nearer(true, false, videos[clip]))
        other.append(_is_nearer(true, false, videos[following[clip]]))
    if not clips:
        return None
    names, rows, counts = np.unique(clips, return_inverse=True, return_counts=True)
    hits = np.bincount(rows, weights=right)
    return {
        "pairs": len(clips),
        "clips": len(names),
        "right": float(np.mean(right)),
        "interval": bootstrap_interval(np.stack([counts, hits], axis=1)),
        "other_clip": float(np.mean(other)),
    }


def _is_nearer(true, false, video) -> bool:
    score, rival = (float(np.asarray(text, np.float64) @ np.asarray(video, np.float64)) for text in (true, false))
    return rival < score - TIE_TOLERANCE * abs(score)
