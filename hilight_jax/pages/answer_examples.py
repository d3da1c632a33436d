"""Held-out clips with the questions about them: the clip as a GIF, each answer beside the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.pages import heatmaps, page
from hilight_jax.pages.examples import SECONDS_PER_CLIP
from hilight_jax.pages.page import text


@dataclass(frozen=True)
class AskedClips:
    """A conversation's clips and what was asked about them."""

    name: str
    clips: Sequence[np.ndarray]  # uint8 [F, Y, X, 3] each
    answers: Sequence[Mapping[str, Any]]  # 'question', 'answer', 'truth' and 'right'


def section(folder: Path, examples: Sequence[AskedClips], drawn_from: str = "") -> str:
    """Writes one GIF per clip into `folder` and returns the section; empty without examples."""
    if not examples:
        return ""
    cards = []
    for i, example in enumerate(examples):
        pictures = []
        for j, clip in enumerate(example.clips):
            frames = heatmaps.enlarge(clip)
            name = f"asked{i}-clip{j}.gif"
            heatmaps.save_gif(folder / name, frames, float(np.clip(SECONDS_PER_CLIP / len(frames), 0.2, 0.8)))
            size = f'width="{frames.shape[2]}" height="{frames.shape[1]}"'
            pictures.append(f'<img src="{name}" {size} loading="lazy" alt="clip {j + 1} of {text(example.name)}">')
        rows = [[text(item["question"]), _answer(item), text(item["truth"])] for item in example.answers]
        cards.append(
            f'<div class="clip"><div class="pictures">{"".join(pictures)}</div>'
            f'{page.table(("question", "answer", "truth"), rows)}<p class="note">{text(example.name)}</p></div>'
        )
    words = "Held-out clips, taken in order and not picked; the first questions about each, answers as they came."
    note = page.note(words + (f" Checkpoint: {drawn_from}." if drawn_from else ""))
    return page.section("What it answers", note, f'<div class="clips">{"".join(cards)}</div>')


def _answer(item):
    sign = "✓" if item["right"] else "✗"
    return f'<span class="{"right" if item["right"] else "wrong"}">{sign}</span> {text(item["answer"]) or "–"}'
