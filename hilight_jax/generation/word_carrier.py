"""Adds to the embeddings of a prompt's words what the clips before them show of the things that they name."""

import collections
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import Tree
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.words import WordFinder, encode_phrases
from hilight_jax.generation.clip_features import ClipFeatures
from hilight_jax.generation.phrase_vectors import chat_phrase_vectors
from hilight_jax.models.hilight import HiLight, variables
from hilight_jax.models.hilight_config import HiLightConfig

_AT_A_TIME = 16  # Phrases of a call, so that one program serves any number of them.
_KEPT = 1024  # Latest pairs of a clip and a phrase whose vectors are kept.


class Found(NamedTuple):
    """A phrase in a clip.

    Attributes:
      vector: [D], added to the embeddings of its words.
      map: [F, P], cosines of the patches.
    """

    vector: np.ndarray
    map: np.ndarray


class NamedRows(NamedTuple):
    """The words of a prompt of n rows that name something.

    Attributes:
      rows: int32 [n], number of the phrase (from 1), 0 for none.
      found: Each phrase in each clip, ``found[clip][phrase]``.
    """

    rows: np.ndarray
    found: tuple[tuple[Found, ...], ...]


class WordCarrier:
    """Word tracks of prompts; keeps the latest pairs of a clip and a phrase."""

    def __init__(self, config: HiLightConfig, params: Tree, tokenizer: GemmaTokenizer, things: Sequence[str]):
        """Takes the parts ``text``, ``local`` and ``word_tracks`` out of a model's parameters."""
        self._find, self._vectors = WordFinder(tokenizer, things), chat_phrase_vectors(config, params)
        self._model, self._variables = HiLight(config), variables({"word_tracks": params["word_tracks"]})
        assert config.word_tracks is not None
        self._width, self._most = config.gemma.width, config.word_tracks.max_clips
        self._sharpness = config.word_tracks.sharpness
        self._kept: collections.OrderedDict[tuple[str, int, str], Found] = collections.OrderedDict()

    def names(self, ids: np.ndarray, clips: Sequence[ClipFeatures]) -> NamedRows:
        """Finds the phrases of a prompt's expanded ids, int32 [n], in each of its clips.

        Raises:
          ConfigError: The prompt has more clips than words can tell apart.
        """
        if len(clips) > self._most:
            raise ConfigError(
                f"the prompt has {len(clips)} clips, but the model's words tell {self._most} apart "
                f"(model.word_tracks.max_clips); ask about fewer."
            )
        words = self._find(ids)
        found = tuple(self._found(words.phrases, clip, number) for number, clip in enumerate(clips))
        return NamedRows(words.rows, found)

    def __call__(self, ids: np.ndarray, clips: Sequence[ClipFeatures]) -> Float[np.ndarray, "n D"]:
        """The vector that each row carries: the sum over the clips before it, as ``word_tracks.add_to_words``."""
        carried = np.zeros((len(ids), self._width), np.float32)
        for found in self._shown(ids, clips):
            for row, phrase in found.items():
                carried[row] += phrase.vector
        return carried

    def shown(self, ids: np.ndarray, clips: Sequence[ClipFeatures]) -> list[dict[int, Float[np.ndarray, "F P"]]]:
        """For each clip, the map of every row that carries its track, as shares of the clip that sum to 1."""
        return [
            {row: _shares(self._sharpness * phrase.map) for row, phrase in found.items()}
            for found in self._shown(ids, clips)
        ]

    def _shown(self, ids: np.ndarray, clips: Sequence[ClipFeatures]) -> list[dict[int, Found]]:
        """For each clip, what it shows of the phrase of every row behind it."""
        if not clips:
            return []
        named = self.names(ids, clips)
        ends = np.cumsum([len(clip.tokens) for clip in clips])
        num_shown = np.searchsorted(ends, np.cumsum(ids == VIDEO_ID), side="right")
        rows = np.flatnonzero(named.rows).tolist()
        return [
            {row: found[named.rows[row] - 1] for row in rows if num_shown[row] > clip}
            for clip, found in enumerate(named.found)
        ]

    def keys(self, ids: np.ndarray) -> list[str]:
        """The phrase that each row is part of, '' for none."""
        words = self._find(ids)
        return ["" if not number else words.phrases[number - 1] for number in words.rows.tolist()]

    def _found(self, phrases: Sequence[str], clip: ClipFeatures, number: int) -> tuple[Found, ...]:
        """Finds phrases in a clip, the one of this number in its conversation."""
        assert clip.find is not None
        keys = [(clip.digest, number, phrase) for phrase in phrases]
        new = [key for key in keys if key not in self._kept]
        for start in range(0, len(new), _AT_A_TIME):
            part = new[start : start + _AT_A_TIME]
            vectors = self._vectors(*encode_phrases([phrase for *_, phrase in part]))
            vectors = np.pad(vectors, ((0, _AT_A_TIME - len(part)), (0, 0)))
            found = clip.find(vectors)
            carried = np.asarray(_carry(self._model, number, self._variables, found.tracks))
            self._kept |= {key: Found(carried[row], found.maps[row]) for row, key in enumerate(part)}
        found = tuple(self._kept[key] for key in keys)
        for key in keys:
            self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def _shares(scores: Float[np.ndarray, "F P"]) -> Float[np.ndarray, "F P"]:
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


@functools.partial(jax.jit, static_argnums=(0, 1))
def _carry(model: HiLight, number: int, params: Tree, tracks: Float[Array, "W F T"]) -> Float[Array, "W D"]:
    """The vectors of phrases in clip ``number`` of a conversation."""
    repeated = jax.numpy.repeat(tracks[None, None], number + 1, axis=1)
    carried: Array = model.apply(params, repeated, method="word_vectors")
    return carried[0, number]
