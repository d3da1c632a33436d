"""Clips with a map for every word of their captions: drawings, and the page of one video and one text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilight_jax.pages import heatmaps, page
from hilight_jax.pages.page import text


@dataclass(frozen=True)
class Place:
    """True place of the named thing, in pixels of the clip's frames."""

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
    notes: Sequence[str]  # of each frame: its time, or its number
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
    """Draws the clip under one word's map, labelled, true place ringed: uint8 [F, y, x, 3]."""
    frames = heatmaps.overlay(example.frames, word.maps)
    if word.place is not None:
        scale = np.asarray(frames.shape[2:0:-1]) / example.frames.shape[2:0:-1]
        frames = heatmaps.ring(frames, word.place.centres * scale, word.place.radii * scale.mean(), word.place.seen)
    return heatmaps.label(frames, example.title(word), example.notes, ringed=word.place is not None)


def write_words_page(folder: Path, example: Example, cosine: float) -> Path:
    """Writes `index.html`, `word-NN.gif` and `word-NN.jpg` (all frames side by side) and returns the page's path.

    The folder is made when missing, and files of the same names are replaced. `cosine` is that of the whole clip and
    the whole text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cards, strips = [], [_strip(folder, "frames", "the frames", heatmaps.enlarge(example.frames))]
    for i, word in enumerate(example.words):
        name, frames = f"word-{i:02}", draw_word(example, word)
        cards.append(heatmaps.save_clip(folder / f"{name}.gif", frames, example.title(word)))
        strips.append(_strip(folder, name, example.title(word), heatmaps.overlay(example.frames, word.maps)))
    words = (
        f"{text(example.name)}. Cosine of the whole clip and the whole text: {cosine:.3f}. Bright patches resemble the "
        "word most; each word's colours run from its median patch of the clip to its best one, so words cannot be "
        "compared with each other by brightness."
    )
    body = [
        f"<header><h1>{text(example.caption)}</h1><p class='lead'>{words}</p></header>",
        page.section("Word by word", f'<div class="examples">{"".join(cards)}</div>'),
        page.section("Every word over every frame", *strips),
    ]
    path = folder / "index.html"
    path.write_text(page.render(example.caption, body), encoding="utf-8")
    return path


def _strip(folder, name, title, frames):
    heatmaps.save_strip(folder / f"{name}.jpg", frames)
    return (
        f'<div class="word"><h3>{text(title)}</h3><div class="strip"><img src="{name}.jpg" loading="lazy" '
        f'alt="{text(title)} over all frames" height="150"></div></div>'
    )
