"""Scores places below a patch, and whether a thing is seen at all: what ``generation/locating.py`` answers.

The error of a place is the distance in pixels of the model's frames from the thing's true centre, in every frame in
which the thing is seen (see ``grounding.py``). Its control is the centre of the best patch.

A thing counts as seen where its map's peak reaches a threshold. The frames that are asked about: a word names a thing
that is seen there (yes), one that nothing of is visible there (no), or, by the shuffled word, one that is not in the
clip (no). Frames that show a thing by less than half, or cut by the border, are left out. So is the cue ball, which
every clip of ``demo-v1`` shows: its word tells no clip from another there, and is not learnt. In ``demo-v2``, where
three clips in ten lack it, it is left out for figures that can be compared. The threshold is fitted on the clips of
even number, to the best mean of the two rates, and precision and recall are those of the other clips.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from hilight_jax.evals.grounding import Grid, Track
from hilight_jax.ops.peaks import peak_places


class PlaceScorer:
    """Scores the cosine maps of words, one clip at a time, in any order."""

    def __init__(self, grid: Grid):
        """Starts with no clip."""
        self._grid = grid
        self._errors: list[np.ndarray] = []  # [frames, 3]: error, error of the patch's centre, radius.
        self._kinds: list[str] = []  # Of the errors.
        self._strengths: list[np.ndarray] = []
        self._seen: list[np.ndarray] = []
        self._clips: list[np.ndarray] = []

    def add(
        self,
        clip: int,
        maps: Float[np.ndarray, "W F P"],
        named: Sequence[tuple[str, str]],
        things: Mapping[str, Track],
    ) -> None:
        """Adds words that name things of one clip; ``named`` has the kind and the name of each one's thing."""
        grid = self._grid
        places = (np.asarray(peak_places(maps, grid.columns)) + 1) / 2 * (grid.width, grid.height)
        row, column = np.divmod(maps.argmax(-1), grid.columns)
        centres = (np.stack([column, row], -1) + 0.5) * grid.patch_size
        for word, (kind, name) in enumerate(named):
            track = things[name]
            seen = track.seen(grid.height, grid.width)
            true = np.stack([track.x, track.y], -1)[seen]
            errors = [np.linalg.norm(found[word][seen] - true, axis=-1) for found in (places, centres)]
            self._errors.append(np.stack([*errors, track.radius[seen]], -1))
            self._kinds += [kind] * len(true)
            if kind != "cue_ball":
                self._ask(clip, maps[word], seen, True)
                self._ask(clip, maps[word], track.visible == 0, False)

    def add_absent(
        self,
        clip: int,
        maps: Float[np.ndarray, "W F P"],
        named: Sequence[tuple[str, str]],
        things: Mapping[str, Track],
    ) -> None:
        """Adds words that name things of other clips, in the frames in which nothing of theirs is visible."""
        for word, (kind, name) in enumerate(named):
            absent = things[name].visible == 0 if name in things else np.ones(maps.shape[1], bool)
            if kind != "cue_ball":
                self._ask(clip, maps[word], absent, False)

    def _ask(self, clip: int, frames: Float[np.ndarray, "F P"], asked: Bool[np.ndarray, " F"], seen: bool) -> None:
        strengths = frames.max(-1)[asked]
        self._strengths.append(strengths)
        self._seen.append(np.full(len(strengths), seen))
        self._clips.append(np.full(len(strengths), clip))

    def summary(self) -> dict[str, Any] | None:
        """Returns the errors by kind of word and the threshold; None where nothing is seen, or nothing is not.

        ``{'classes': {kind: {'median_error', 'ninth_decile', 'patch_centre', 'on_thing', 'frames'}}, 'threshold',
        'precision', 'recall', 'false_alarms', 'share_seen', 'fitted_on', 'measured_on'}``: errors in pixels,
        ``patch_centre`` the median of the control, ``on_thing`` the share of places at most the thing's radius away;
        ``false_alarms`` the share of the frames without the thing in which it is called seen, ``share_seen`` that of
        the frames with it, which precision depends on; the last two are numbers of frames.
        """
        if not self._errors:
            return None
        kinds, errors = np.array(self._kinds), np.concatenate(self._errors)
        classes = {str(kind): _figures(errors[kinds == kind]) for kind in np.unique(kinds)}
        strengths, seen, clips = (np.concatenate([*x, []]) for x in (self._strengths, self._seen, self._clips))
        seen, fit = seen.astype(bool), clips % 2 == 0
        if len({*seen[fit]}) < 2 or not seen[~fit].any():
            return None
        threshold = fit_threshold(strengths[fit], seen[fit])
        found = strengths[~fit] >= threshold
        right = int((found & seen[~fit]).sum())
        return {
            "classes": classes,
            "threshold": threshold,
            "precision": right / max(int(found.sum()), 1),
            "recall": right / int(seen[~fit].sum()),
            "false_alarms": float((found & ~seen[~fit]).sum() / max(int((~seen[~fit]).sum()), 1)),
            "share_seen": float(seen[~fit].mean()),
            "fitted_on": int(fit.sum()),
            "measured_on": int((~fit).sum()),
        }


def fit_threshold(strengths: Float[np.ndarray, " n"], seen: Bool[np.ndarray, " n"]) -> float:
    """Returns the threshold with the best mean of two rates: of the seen, those at or above it; of others, those below.

    It lies midway between two strengths; of equally good ones it is the lowest. Both sorts must be there.
    """
    order = np.argsort(strengths, kind="stable")
    ranked: Int[np.ndarray, " n"] = seen[order].astype(int)
    below_seen, below_others = np.cumsum(ranked), np.cumsum(1 - ranked)
    rates = (1 - below_seen / below_seen[-1] + below_others / below_others[-1])[:-1]
    ties = np.diff(strengths[order]) == 0
    best = int(np.argmax(np.where(ties, -1, rates)))
    return float(strengths[order][best : best + 2].mean())


def _figures(errors: Float[np.ndarray, "frames 3"]) -> dict[str, Any]:
    error, of_patch, radius = errors.T
    return {
        "median_error": float(np.median(error)),
        "ninth_decile": float(np.quantile(error, 0.9)),
        "patch_centre": float(np.median(of_patch)),
        "on_thing": float((error <= radius).mean()),
        "frames": len(errors),
    }
