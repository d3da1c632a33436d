"""A clip with the words of its caption and their maps, and how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilight_jax.pages import heatmaps
from hilight_jax.pages.page import text

SECONDS_PER_CLIP = 4.0


@dataclass(frozen=True)
class Place:
    """Where the named thing truly is: pixels of the clip's frames."""

    centres: np.ndarray  # [F, 2] x, y
    radii: np.ndarray  # [F]
    seen: np.ndarray  # bool [F]


@dataclass(frozen=True)
class Word:
    """One word, or one named thing, of a caption."""

    start: int  # characters of the caption
    end: int
    maps: np.ndarray  # [F, rows, columns]
    place: Place | None = None


@dataclass(frozen=True)
class Example:
    """A clip, one caption of it and the maps of the caption's words."""

    name: str
    caption: str
    frames: np.ndarray  # uint8 [F, Y, X, 3]
    notes: Sequence[str]  # one per frame: its time, or its number
    words: Sequence[Word]

    def title(self, word: Word) -> str:
        """The word's text."""
        return self.caption[word.start : word.end]

    def marked_caption(self) -> str:
        """The caption as HTML, its words marked."""
        pieces, last = [], 0
        for word in sorted(self.words, key=lambda word: word.start):
            if word.start >= last:
                pieces += [text(self.caption[last : word.start]), f"<mark>{text(self.title(word))}</mark>"]
                last = word.end
        return "".join(pieces) + text(self.caption[last:])


def draw_word(example: Example, word: Word) -> np.ndarray:
    """The clip under one word's map, labelled, true place ringed: uint8 [F, y, x, 3]."""
    frames = heatmaps.overlay(example.frames, word.maps)
    if word.place is not None:
        scale = np.asarray(frames.shape[2:0:-1]) / example.frames.shape[2:0:-1]
        frames = heatmaps.ring(frames, word.place.centres * scale, word.place.radii * scale.mean(), word.place.seen)
    return heatmaps.label(frames, example.title(word), example.notes, ringed=word.place is not None)


def save_word(path: Path, frames: np.ndarray) -> None:
    """Writes the drawn clip of a word as a GIF of about four seconds."""
    heatmaps.save_gif(path, frames, seconds=float(np.clip(SECONDS_PER_CLIP / len(frames), 0.2, 0.8)))
