"""Scores of evidence: the share of it that lies on the asked-about balls, and what hiding it does to the answer.

*Share.* The maps of an answer's clip are normalised to sum 1; the share is the sum over the patches that lie on the
balls that the question is about (`asked_balls.py`). Of a question about two clips those that show such a ball count,
since the evidence that a ball is absent has no place. Controls: `area`, the share of those patches among all, which a
map without a preference scores, and `other_clip`, the same places in the evidence of the same question when it is asked
about another clip.

*Deletion.* In every frame the patches with the most evidence are hidden, as many as lie on the asked-about balls in the
frame with the most of them and at least `MIN_HIDDEN`, and the question is asked again. `changed` is the share of the
answers that are another one then. Controls, as many patches a frame: drawn from all at random, and drawn from those on
the other balls, filled up with others off the asked-about ones. `ratio` is `changed` over that of random patches.

A patch is hidden by the mean colour of its frame. That is nearly the cloth's, so the place looks empty; black or grey
would be a thing to see, and another clip's patch might show a ball.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from hilight_jax.evals.intervals import bootstrap_interval

MIN_HIDDEN = 4  # patches a frame
STRONGEST, RANDOM, OTHER_BALLS = "strongest", "random", "other_balls"  # What is hidden.


class ScoredEvidence(NamedTuple):
    """The figures of one answer."""

    kind: str  # of question
    clip: str  # names its first clip; questions about the same clip are not independent
    share: float
    area: float
    other_clip: float | None  # None where no other clip was shown
    num_hidden: int  # patches a frame
    changed: dict[str, bool]  # by what was hidden


def share_on(maps: Float[np.ndarray, "F P"], on: Bool[np.ndarray, "F P"]) -> float:
    """The share of evidence that lies on some patches; 0 where there is no evidence."""
    total = maps.sum()
    return float(maps[on].sum() / total) if total > 0 else 0.0


def patches_to_hide(
    maps: Float[np.ndarray, "F P"],
    on: Bool[np.ndarray, "F P"],
    on_others: Bool[np.ndarray, "F P"],
    rng: np.random.Generator,
) -> dict[str, Bool[np.ndarray, "F P"]]:
    """Chooses patches in every frame, equally many in all: those with the most evidence, and those of the controls.

    Args:
      maps: The evidence.
      on: The patches that lie on the asked-about balls.
      on_others: Those on other balls.
      rng: Draws the controls.
    """
    count = min(max(MIN_HIDDEN, int(on.sum(-1).max())), on.shape[1])
    drawn = rng.random((2, *on.shape))
    return {
        STRONGEST: _highest(maps, count),
        RANDOM: _highest(drawn[0], count),
        OTHER_BALLS: _highest(drawn[1] + on_others - 2.0 * on, count),
    }


def _highest(scores: Float[np.ndarray, "F P"], count: int) -> Bool[np.ndarray, "F P"]:
    """The ``count`` patches of each frame with the highest scores, of equal ones the first."""
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, np.argsort(-scores, axis=-1, kind="stable")[:, :count], True, axis=-1)
    return chosen


def hide_patches(
    frames: UInt8[np.ndarray, "F Y X C"], hidden: Bool[np.ndarray, "F P"], patch_size: int
) -> UInt8[np.ndarray, "F Y X C"]:
    """Gives patches, numbered row by row, the mean colour of their frame."""
    rows, columns = (size // patch_size for size in frames.shape[1:3])
    mask = hidden.reshape(-1, rows, columns).repeat(patch_size, axis=1).repeat(patch_size, axis=2)
    means = frames.mean(axis=(1, 2), keepdims=True).round().astype(frames.dtype)
    return np.where(mask[..., None], means, frames)


def summarise_evidence(scored: Sequence[ScoredEvidence]) -> dict[str, Any]:
    """Averages at least one answer's figures: all together, and by kind of question.

    Returns:
      ``{'overall': G, 'types': {kind: G}}``, ready for JSON. G: 'questions'; 'share', its 95 % bootstrap
      'share_interval' over clips, 'area' and 'other_clip'; 'changed', 'changed_random' and 'changed_other_balls',
      'ratio' and its 'ratio_interval'; 'hidden', the mean number of patches that were hidden a frame. None where
      something is not known: a ratio to no change at all, a bound of one that is not finite.
    """
    kinds = dict.fromkeys(item.kind for item in scored)
    types = {kind: _figures([item for item in scored if item.kind == kind]) for kind in kinds}
    return {"overall": _figures(scored), "types": types}


def _figures(scored: Sequence[ScoredEvidence]) -> dict[str, Any]:
    clips = [item.clip for item in scored]
    changed = {
        name: np.array([float(item.changed[name]) for item in scored]) for name in (STRONGEST, RANDOM, OTHER_BALLS)
    }
    others = [item.other_clip for item in scored if item.other_clip is not None]
    num_random = changed[RANDOM].sum()
    return {
        "questions": len(scored),
        "share": float(np.mean([item.share for item in scored])),
        "share_interval": _interval(np.ones(len(scored)), np.array([item.share for item in scored]), clips),
        "area": float(np.mean([item.area for item in scored])),
        "other_clip": float(np.mean(others)) if others else None,
        "changed": float(changed[STRONGEST].mean()),
        "changed_random": float(changed[RANDOM].mean()),
        "changed_other_balls": float(changed[OTHER_BALLS].mean()),
        "ratio": float(changed[STRONGEST].sum() / num_random) if num_random else None,
        "ratio_interval": _interval(changed[RANDOM], changed[STRONGEST], clips),
        "hidden": float(np.mean([item.num_hidden for item in scored])),
    }


def _interval(below: np.ndarray, above: np.ndarray, clips: Sequence[str]) -> list[float | None]:
    """The interval of ``sum(above) / sum(below)`` over clips; None for a bound that is not finite."""
    numbers = {clip: number for number, clip in enumerate(dict.fromkeys(clips))}
    per_clip = np.zeros((len(numbers), 2))
    np.add.at(per_clip, [numbers[clip] for clip in clips], np.stack([below, above], axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        bounds = bootstrap_interval(per_clip)
    return [bound if np.isfinite(bound) else None for bound in bounds]
