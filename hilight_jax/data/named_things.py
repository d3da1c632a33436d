"""The things that a text names, each as the positions of its tokens.

Where the spans of a text are known, every span names a thing. Otherwise a thing is a run of content words, which only
spaces or hyphens join: "the red 3-ball is potted" names "red 3-ball" and "potted". A verb joins the noun before it:
"the cue ball hits the red ball" names "cue ball hits" and "red ball".
"""

import itertools
from collections.abc import Iterator

import numpy as np
import regex
from jaxtyping import Int

from hilight_jax.data.language_mask import content_mask
from hilight_jax.data.records import Caption
from hilight_jax.data.tokenizers import Tokens

_JOINT = regex.compile(r"[\s\-‐‑]*")


def named_things(caption: Caption, tokens: Tokens) -> list[Int[np.ndarray, " tokens"]]:
    """Returns the positions of each thing's content tokens, in the order of the text.

    A thing that is named twice is there twice; one that was cut off with the end of a long text is left out.
    """
    content = content_mask(caption, tokens)
    if caption.spans is None:
        return list(_runs(caption.text, tokens.spans, np.flatnonzero(content)))
    starts, ends = tokens.spans.T
    named = (np.flatnonzero(content & (starts < span.end) & (ends > span.start)) for span in caption.spans)
    return [positions for positions in named if len(positions)]


def _runs(text: str, spans: Int[np.ndarray, "L 2"], positions: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the positions whose tokens nothing but spaces and hyphens separates, run by run."""
    gaps = (text[spans[before, 1] : spans[after, 0]] for before, after in itertools.pairwise(positions))
    breaks = [number for number, gap in enumerate(gaps, 1) if not _JOINT.fullmatch(gap)]
    yield from (run for run in np.split(positions, breaks) if len(run))
