"""Words of captions that name a thing whose place is known, and their scores clip by clip."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.language_mask import content_mask
from hilight_jax.data.records import Caption, Span
from hilight_jax.data.tokenizers import Tokens
from hilight_jax.evals.grounding import (
    FIGURES,
    Grid,
    Track,
    Truth,
    other_words,
    pointing_hits,
    score_words,
    summarise_grounding,
)
from hilight_jax.evals.places import PlaceScorer
from hilight_jax.evals.similarity import level_maps

CUE_BALL = "ball:cue"
# Kinds of things that have a name but no one place: a cushion is a whole side of the table, the cloth most of it.
WITHOUT_PLACE = ("cushion", "cloth")


class NamedWord(NamedTuple):
    """A span of a caption that names a thing of its clip."""

    clip: int  # number of the record in its source
    kind: str  # see `word_class`
    object: str
    vectors: Float[np.ndarray, "levels E"]


class WordScorer:
    """Scores every word in its own clip, one clip at a time, in any order."""

    def __init__(self, words: Sequence[NamedWord], level_weights: Sequence[float], similarity: str, grid: Grid):
        """Draws each word's partner for the shuffled-word control."""
        self._words, self._weights, self._similarity, self._grid = words, level_weights, similarity, grid
        self._partners = other_words([word.object for word in words], [word.kind for word in words])
        self._of_clip: dict[int, list[int]] = {}
        for number, word in enumerate(words):
            self._of_clip.setdefault(word.clip, []).append(number)
        self._scored: list[NamedWord] = []
        self._scores: list[np.ndarray] = []
        self._hits: list[np.ndarray] = []
        self._places = PlaceScorer(grid) if similarity == "cosine" else None

    def needs(self, clip: int) -> bool:
        """True if a word names a thing in this clip."""
        return clip in self._of_clip

    def add(self, clip: int, video_local: Sequence[Float[np.ndarray, "F P E"]], things: Mapping[str, Track]) -> None:
        """Scores the words of one clip by its patches' features, one array per level."""
        numbers = self._of_clip[clip]
        words = [self._words[n] for n in numbers]
        vectors = np.stack([w.vectors for w in words] + [self._words[n].vectors for n in self._partners[numbers]])
        by_level = level_maps(video_local, vectors, self._similarity)
        maps = np.tensordot(self._weights, by_level, 1)
        own, shuffled = maps[: len(words)], maps[len(words) :]
        names, truth = [word.object for word in words], Truth(things, self._grid)
        self._scores.append(score_words(own, shuffled, names, truth, self._similarity))
        self._hits.append(pointing_hits(by_level[:, : len(words)], names, truth))
        if self._places is not None:
            others = [self._words[n] for n in self._partners[numbers]]
            self._places.add(clip, own, [(word.kind, word.object) for word in words], things)
            self._places.add_absent(clip, shuffled, [(word.kind, word.object) for word in others], things)
        self._scored += words

    def summary(self) -> dict[str, Any]:
        """Averages over all words scored so far, see `summarise_grounding`; 'places' of cosines, see `places.py`."""
        clips, kinds, objects, _ = zip(*self._scored, strict=True) if self._scored else ((), (), (), ())
        scores = np.concatenate([np.zeros((0, 1 + len(FIGURES))), *self._scores])
        places = None if self._places is None else self._places.summary()
        return {**summarise_grounding(scores, clips, kinds, objects), "places": places}

    def pointing_of_levels(self) -> list[float] | None:
        """Pointing of the class 'ball' by the maps of each level alone; None without a question."""
        balls = np.array([word.kind == "ball" for word in self._scored], bool)
        questions = np.concatenate(self._scores)[balls, 0].sum() if balls.any() else 0
        return (np.concatenate(self._hits)[balls].sum(0) / questions).tolist() if questions else None


def word_class(span: Span) -> str:
    """The kind of thing that a span names; 'cue_ball' for the cue ball, so that 'ball' is the object balls."""
    return "cue_ball" if span.object == CUE_BALL else span.kind


def naming_spans(caption: Caption, tokens: Tokens) -> Iterator[tuple[Span, Int[np.ndarray, " tokens"]]]:
    """Yields the spans that name a thing in one place and the positions of their content tokens (no articles).

    Things of the kinds `WITHOUT_PLACE` are left out: one disc cannot mark them. A span that was cut off with the end of
    a long caption has no position.
    """
    content = content_mask(caption, tokens)
    for span in caption.spans or ():
        if span.object and span.kind not in WITHOUT_PLACE:
            inside = (tokens.spans[:, 0] < span.end) & (tokens.spans[:, 1] > span.start)
            yield span, np.flatnonzero(content & inside)


def known_things(labels: Mapping[str, Any] | None, num_frames: int, image_size: int) -> dict[str, Track]:
    """Places of each named thing of a clip in the model's input frames, by name.

    `labels` places things in the stored frames; the pipeline spreads its frames evenly over them and squashes each to
    a square, and so are the places here.
    """
    found = {}
    for name, thing in ((labels or {}).get("objects") or {}).items():
        chosen = uniform_indices(len(thing["x"]), num_frames)
        x, y, radius, visible = (np.asarray(thing[key], float)[chosen] for key in ("x", "y", "radius", "visible"))
        across, down = image_size / labels["width"], image_size / labels["height"]
        found[name] = Track(x * across, y * down, radius * (across * down) ** 0.5, visible)
    return found
