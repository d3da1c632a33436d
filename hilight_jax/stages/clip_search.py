"""Finds the clips that fit a text: by the whole text, and by the things that it names (ops/word_scores.py).

A clip is encoded once, and any text is compared with it later. Its patches are kept in float16, F * P * E * 2 bytes for
a level: 96 KiB for the demo, 2.3 MiB for B/16 with 12 frames. They are read for the shortlist of a text only, so many
clips may keep theirs in files (``numpy.memmap``).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float16

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.data.named_things import named_things
from hilight_jax.data.records import Caption
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.models.local_heads import map_features
from hilight_jax.ops.word_scores import best_cosines, mean_over_things, shortlist, thing_vectors, word_scores
from hilight_jax.stages.trained_encoder import TrainedEncoder

SHORTLIST = 100


class EncodedClip(NamedTuple):
    """A clip as texts are compared with it.

    Attributes:
      embed: The embedding, a unit vector.
      patches: The features of the local heads, those of a word's map; None without local heads.
    """

    embed: Float[np.ndarray, " E"]
    patches: Float16[np.ndarray, "F P E"] | None

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.embed.nbytes + (0 if self.patches is None else self.patches.nbytes)


class Comparison(NamedTuple):
    """A text compared with clips.

    Attributes:
      similarity: Cosine of the text's and each clip's embedding.
      score: The same with the help of words; without it equal to ``similarity``.
    """

    similarity: Float[np.ndarray, " C"]
    score: Float[np.ndarray, " C"]


def encode_clip(encoder: TrainedEncoder, frames: np.ndarray) -> EncodedClip:
    """Encodes one clip, uint8 [F, Y, X, 3]."""
    out = encoder.encode_video(frames[None])
    patches = None
    if finds_words(encoder):
        patches = np.asarray(map_features(out["video_local"], encoder.level_weights)[0], np.float16)
    return EncodedClip(_unit(out["video_embeds"][0]), patches)


def compare(
    encoder: TrainedEncoder,
    text: str,
    clips: Sequence[EncodedClip],
    words: bool | None = None,
    num_listed: int | None = SHORTLIST,
) -> Comparison:
    """Compares a text with clips.

    Args:
      encoder: The encoder of the clips.
      text: A text longer than the encoder's captions is cut.
      clips: The candidates.
      words: Look for the things that the text names; None does where the encoder has local heads.
      num_listed: Candidates of the highest similarity that words are looked for in; None takes all.

    Raises:
      ConfigError: ``words`` is True, but the encoder has no local heads.
      DataError: The text has no words, or there are no clips.
    """
    if not any(character.isalnum() for character in text):
        raise DataError(f"the text is {text!r}; it needs at least one word.")
    if not clips:
        raise DataError("there is no clip to compare the text with; give at least one.")
    if words and not finds_words(encoder):
        raise ConfigError(
            "words=true needs an encoder with local heads (config.model.local.levels), and this one has none; leave "
            "words out to compare the whole text alone."
        )
    tokens = ClipTokenizer(encoder.config.data.text_length)(text)
    out = encoder.encode_text(tokens.ids[None], tokens.mask[None])
    similarity = np.stack([clip.embed for clip in clips]) @ _unit(out["text_embeds"][0])
    named = named_things(Caption(text), tokens)
    if words is False or not finds_words(encoder) or not named:
        return Comparison(similarity, similarity)
    things = thing_vectors(np.asarray(map_features(out["text_local"], encoder.level_weights))[0], named)
    listed = shortlist(similarity, num_listed or len(clips))
    found = np.zeros(len(clips))
    for number in listed:  # One at a time: so no other patches are in memory, and the program is compiled once.
        found[number] = mean_over_things(best_cosines(things, clips[number].patches[None]), [len(named)])[0, 0]
    return Comparison(similarity, word_scores(similarity, found, listed))


def finds_words(encoder: TrainedEncoder) -> bool:
    """Returns True if the encoder has local heads, which find words in patches."""
    return bool(encoder.config.model.local.levels)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
