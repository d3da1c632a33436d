"""Finds the balls that a question is about, and the patches that lie on them.

The names of balls are those of the captions' spans: a world that calls `ball:3` "the red ball" there calls it so in its
questions. A name also counts without its last word where it stands alone ("the red one"). A question is about the balls
of its clip that it or its true answer names: "Which ball does the cue ball hit first?" is about the cue ball and the
one that is hit.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from hilight_jax.data.conversations.words import find_phrases, listed_names, name_of, normal_form
from hilight_jax.data.records import caption_from_json
from hilight_jax.evals.grounding import Grid, Track

NOT_ABOUT_BALLS = frozenset({"cloth"})  # Kinds of questions whose answers are colours of something else.
BALL = "ball"  # The kind of spans that name a ball; the names of balls in labels begin with it and a colon.


class BallNames:
    """Names of balls, as the captions of a source have them."""

    def __init__(self, labels: Iterable[Mapping[str, Any]]):
        """Reads the captions of clips with these labels; captions without spans name nothing."""
        self._named: dict[str, set[str]] = {}
        listed = set()
        for of_clip in labels:
            for entry in of_clip.get("captions", ()):
                caption = caption_from_json(entry, str(of_clip.get("id", "")))
                for span in caption.spans or ():
                    name = name_of(caption.text[span.start : span.end])
                    listed.add(name)
                    if span.kind == BALL and span.object:
                        self._add(name, span.object)
                        self._add(name.removesuffix(f" {BALL}"), span.object)
        self._listed = listed_names(sorted(listed))

    def _add(self, name: str, thing: str) -> None:
        self._named.setdefault(normal_form(name), set()).add(thing)

    def __bool__(self) -> bool:
        """True if a caption names a ball."""
        return bool(self._named)

    def __call__(self, text: str) -> set[str]:
        """The balls that a text may name, whatever the clip: a name may stand for several."""
        found = (self._named.get(phrase, set()) for *_, phrase in find_phrases(text, self._listed))
        return set().union(*found)


def patches_on_balls(
    balls: Iterable[str], things: Mapping[str, Track], grid: Grid, num_frames: int
) -> Bool[np.ndarray, "F P"]:
    """The patches that lie on some of these balls where they are seen (`grounding.Track.seen`).

    As pointing has it, a patch lies on a ball when their centres are at most `grounding.REACH` patches apart in x and
    in y; beside that, on a ball larger than patches, when its centre lies inside the disc. Balls that are not among the
    clip's things have no place.
    """
    on = np.zeros((num_frames, grid.rows * grid.columns), bool)
    for ball in set(balls) & set(things):
        track = things[ball]
        seen = track.seen(grid.height, grid.width)[:, None]
        on |= (grid.patches_on(track) | _inside(track, grid)) & seen
    return on


def _inside(track: Track, grid: Grid) -> Bool[np.ndarray, "F P"]:
    """The patches whose centre lies inside the disc."""
    row, column = np.divmod(np.arange(grid.rows * grid.columns), grid.columns)
    x, y = ((index + 0.5) * grid.patch_size for index in (column, row))
    return np.hypot(x - track.x[:, None], y - track.y[:, None]) <= track.radius[:, None]
