"""Retrieval of captions that differ in an abstract phrase alone, such as 'What a shot.', which names nothing visible.

The content language mask keeps such phrases out of the local loss; the global loss reads them all the same. Of captions
that are alike but for their last sentence, two things are measured: how often a clip lies nearest to the one with its
own phrase, and what retrieval loses when every caption ends with another phrase.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.data.records import Caption, Source
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.evals.intervals import mean_interval
from hilight_jax.evals.retrieval import TIE_TOLERANCE, text_to_video_ranks
from hilight_jax.evals.text_embeds import EncodeText, text_embeds

MAX_PHRASES = 16
SENTENCE_ENDS = (". ", "! ", "? ")


class Rephrased(NamedTuple):
    """The first caption of each clip, ending with every one of the phrases."""

    embeds: Float[np.ndarray, "num_captions num_phrases E"]  # unit vectors
    clip: Int[np.ndarray, " num_captions"]  # number of the record
    own: Int[np.ndarray, " num_captions"]  # number of the phrase that the caption ends with


def abstract_phrase(caption: Caption) -> str | None:
    """The last sentence of a caption, if it names nothing visible while the rest does."""
    start = max(place + len(end) if (place := caption.text.rfind(end)) >= 0 else 0 for end in SENTENCE_ENDS)
    named = [span.end for span in caption.spans or ()]
    return caption.text[start:] if start and named and max(named) <= start else None


def encode_rephrased(
    encode_text: EncodeText,
    source: Source,
    num_clips: int,
    batch_size: int,
    tokenizer: ClipTokenizer,
    quarantine: Collection[str] = (),
) -> Rephrased | None:
    """Encodes the first captions with the most frequent phrases of at least two clips; None if these are below two.

    Captions that end with none of them, or that one of them makes too long, are left out.
    """
    first = {}
    for index in range(num_clips):
        record = source[index]
        if record.id in quarantine or not record.captions:
            continue
        if phrase := abstract_phrase(record.captions[0]):
            first[index] = record.captions[0].text, phrase
    counts = Counter(phrase for _, phrase in first.values())
    phrases = sorted(phrase for phrase, count in counts.most_common(MAX_PHRASES) if count > 1)
    if len(phrases) < 2:
        return None
    rows, clips, own = [], [], []
    for index, (text, phrase) in first.items():
        tokens = [tokenizer(text.removesuffix(phrase) + other) for other in phrases]
        if phrase in phrases and not any(variant.truncated for variant in tokens):
            rows += tokens
            clips.append(index)
            own.append(phrases.index(phrase))
    if not rows:
        return None
    embeds = text_embeds(encode_text, rows, batch_size).reshape(len(clips), len(phrases), -1)
    return Rephrased(embeds, np.array(clips), np.array(own))


def compare_phrases(rephrased: Rephrased, videos: Mapping[int, Float[np.ndarray, " E"]]) -> dict[str, Any] | None:
    """Scores captions that differ in an abstract phrase alone; a tie counts against the model.

    Args:
      rephrased: The captions.
      videos: Unit vectors of the clips, by number of the record; captions of other clips are left out.

    Returns:
      'captions' and 'phrases'; 'right', the share of clips that lie nearest to the caption with its own phrase, its 95
      % bootstrap interval over clips, 'interval', and the control 'most_frequent', the share that always the same
      phrase would have; 'R@1', text to video over these captions, and 'R@1_rephrased', the same when each ends with the
      next phrase of the list; None if no caption is left.
    """
    usable = np.array([clip in videos for clip in rephrased.clip.tolist()], bool)
    if not usable.any():
        return None
    texts, own = rephrased.embeds[usable], rephrased.own[usable]
    shown = np.stack([np.asarray(videos[clip], np.float64) for clip in rephrased.clip[usable].tolist()])
    rows, number = np.arange(len(own)), texts.shape[1]
    scores = np.einsum("cpe,ce->cp", texts, shown)
    true = scores[rows, own]
    below = scores < (true - TIE_TOLERANCE * np.abs(true))[:, None]
    right = below.sum(axis=1) == number - 1

    def recall(phrase):
        ranks = text_to_video_ranks(texts[rows, phrase] @ shown.T, rows)
        return float(np.mean(ranks <= 1))

    return {
        "captions": len(own),
        "phrases": number,
        "right": float(np.mean(right)),
        "interval": mean_interval(right.astype(float), rows),
        "most_frequent": float(np.bincount(own).max() / len(own)),
        "R@1": recall(own),
        "R@1_rephrased": recall((own + 1) % number),
    }
