"""Scores grounding: a word's most similar patch should lie on the thing that the word names.

This file has the array rules, `named_words.py` applies them to clips. A word is a span of a caption that names one
visible thing ("the red 3-ball"); its map over the patches is that of its content tokens ("red", "3", "-", "ball"), see
`similarity.py`.

One question is one span in one frame in which the named thing can be seen: at least `MIN_VISIBLE` of it is
unoccluded and its centre lies inside the image. It is answered rightly when the most similar patch lies on the thing:
its centre is at most `REACH` patches from the thing's in x and in y. Patches that tie for the maximum share the
answer, so a map without a peak scores the area chance, not luck.

The classes of words are the kinds of things, with the cue ball by itself: it is white and in every clip of `demo-v1`,
so finding it does not show that a model distinguishes balls. `ball` is the object balls.

Every figure has its controls: `area_chance` (a patch drawn at random), `random_ball` (a patch drawn from a
visible ball drawn at random: what "finds balls, but not the ball" would score), `any_ball` (how often the peak lies
on some visible ball) and `shuffled_word` (the map of a word that names another thing of the same kind).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hilight_jax.billiards.patches import patch_weights
from hilight_jax.evals.intervals import bootstrap_interval, influences
from hilight_jax.evals.similarity import pooling_weights

REACH = 0.75  # patches
MIN_VISIBLE = 0.5  # share of the thing's disc that nothing hides
FIGURES = (
    "pointing", "area_chance", "random_ball", "any_ball", "shuffled_word",
    "soft_iou", "soft_iou_uniform", "soft_iou_shuffled",
)  # fmt: skip


@dataclass(frozen=True)
class Track:
    """Place of one thing in each of F frames, in pixels of the model's input frames."""

    x: Float[np.ndarray, " F"]
    y: Float[np.ndarray, " F"]
    radius: Float[np.ndarray, " F"]
    visible: Float[np.ndarray, " F"]  # 0 hidden or off the table, 1 wholly seen

    def seen(self, height: int, width: int) -> Bool[np.ndarray, " F"]:
        """The frames that count: visible enough, centre inside the image."""
        inside = (0 <= self.x) & (self.x < width) & (0 <= self.y) & (self.y < height)
        return inside & (self.visible >= MIN_VISIBLE)


@dataclass(frozen=True)
class Grid:
    """The patch grid of one frame, row-major."""

    rows: int
    columns: int
    patch_size: int

    @property
    def height(self) -> int:
        """Pixel rows."""
        return self.rows * self.patch_size

    @property
    def width(self) -> int:
        """Pixel columns."""
        return self.columns * self.patch_size

    def patches_on(self, track: Track) -> Bool[np.ndarray, "F P"]:
        """The patches that lie on the thing, by the rule above, visible or not."""
        row, column = np.divmod(np.arange(self.rows * self.columns), self.columns)
        dx = (column + 0.5) - track.x[:, None] / self.patch_size
        dy = (row + 0.5) - track.y[:, None] / self.patch_size
        return (np.abs(dx) <= REACH) & (np.abs(dy) <= REACH)

    def shares(self, track: Track) -> Float[np.ndarray, "F P"]:
        """Shares of the thing's disc that lie on each patch; rows sum to 1, or to 0 where none of it is visible."""
        area = patch_weights(track.x, track.y, track.radius, track.visible, self.height, self.width, self.patch_size)
        total = area.sum(-1, keepdims=True)
        return np.divide(area, total, out=np.zeros_like(area), where=total > 0)


class Truth:
    """True places of the things of one clip, computed once for all words that name them."""

    def __init__(self, things: Mapping[str, Track], grid: Grid):
        """Takes all things of the clip by name; those called 'ball:...' are the balls of the controls."""
        self.seen = {name: track.seen(grid.height, grid.width) for name, track in things.items()}
        self.on = {name: grid.patches_on(track) for name, track in things.items()}
        self.shares = {name: grid.shares(track) for name, track in things.items()}
        balls = [self.on[name] & self.seen[name][:, None] for name in things if name.startswith("ball:")]
        self._balls = np.stack(balls) if balls else np.zeros((0, 1, 1), bool)
        self.on_any_ball = self._balls.any(0)

    def random_ball(self, name: str) -> Float[np.ndarray, " F"]:
        """Chance that a patch of a visible ball, both drawn at random, lies on the thing."""
        sizes = self._balls.sum(-1)
        overlaps = (self._balls & self.on[name]).sum(-1) / np.maximum(sizes, 1)
        return overlaps.sum(0) / np.maximum((sizes > 0).sum(0), 1)


def peak_share(maps: Float[np.ndarray, "*W F P"], on: Bool[np.ndarray, "*W F P"]) -> Float[np.ndarray, "*W F"]:
    """Share of each frame's most similar patches (one, unless they tie) that are among `on`."""
    peaks = maps == maps.max(-1, keepdims=True)
    return (peaks & on).sum(-1) / np.maximum(peaks.sum(-1), 1)


def soft_iou(weights: Float[np.ndarray, "*W F P"], shares: Float[np.ndarray, "*W F P"]) -> Float[np.ndarray, "*W F"]:
    """Intersection over union of two distributions over patches: sum of minima over sum of maxima, 0 to 1."""
    return np.minimum(weights, shares).sum(-1) / np.maximum(weights, shares).sum(-1)


def score_words(
    maps: Float[np.ndarray, "W F P"],
    shuffled_maps: Float[np.ndarray, "W F P"],
    names: Sequence[str],
    truth: Truth,
    similarity: str,
) -> Float[np.ndarray, "W figures"]:
    """Scores the words of one clip: per word `[questions, *sums over them of FIGURES]`.

    `names` are the things that the words name; `shuffled_maps` are, in the same clip, those of words that name others.
    """
    seen, on, shares = (np.stack([known[name] for name in names]) for known in (truth.seen, truth.on, truth.shares))
    per_frame = np.stack(
        [
            np.ones(seen.shape),
            peak_share(maps, on),
            on.mean(-1),
            np.stack([truth.random_ball(name) for name in names]),
            peak_share(maps, np.broadcast_to(truth.on_any_ball, on.shape)),
            peak_share(shuffled_maps, on),
            soft_iou(pooling_weights(maps, similarity), shares),
            soft_iou(np.full(on.shape, 1 / on.shape[-1]), shares),
            soft_iou(pooling_weights(shuffled_maps, similarity), shares),
        ]
    )
    return np.where(seen, per_frame, 0.0).sum(-1).T


def pointing_hits(
    maps: Float[np.ndarray, "levels W F P"], names: Sequence[str], truth: Truth
) -> Float[np.ndarray, "W levels"]:
    """Questions answered rightly by the maps of each level by itself, summed over the frames; see `score_words`."""
    seen, on = (np.stack([known[name] for name in names]) for known in (truth.seen, truth.on))
    return np.where(seen, peak_share(maps, on), 0.0).sum(-1).T


def summarise_grounding(
    scores: Float[np.ndarray, "W figures"], clips: Sequence[int], kinds: Sequence[str], objects: Sequence[str]
) -> dict:
    """Averages rows of `score_words` over questions, per kind of word ('ball', 'cue_ball') and named thing ('ball:3').

    The bootstrap resamples clips, as words of one clip are not independent.

    Returns:
      `{'classes': {kind: G}, 'objects': {object: G}}`; G holds every one of `FIGURES`, 'interval' (95 % bootstrap
      interval of 'pointing', classes only), 'intervals' (those of 'any_ball' and 'soft_iou', likewise), 'influences'
      (of every clip up to the last one on these three, likewise), 'words' and 'questions'. Things that are never
      visible are left out.
    """
    kinds, objects, clips = np.asarray(kinds), np.asarray(objects), np.asarray(clips)

    def groups(labels, interval):
        found = {}
        for label in np.unique(labels[scores[:, 0] > 0]) if len(scores) else ():
            rows = labels == label
            found[str(label)] = _averages(scores[rows], clips[rows], interval)
        return found

    return {"classes": groups(kinds, interval=True), "objects": groups(objects, interval=False)}


def other_words(objects: Sequence[str], kinds: Sequence[str], seed: int = 0) -> Int[np.ndarray, " W"]:
    """Draws for each word another word that names another thing, of the same kind where the data has one.

    A word that has no such partner gets itself; then its shuffled control equals its score.
    """
    generator = np.random.default_rng(seed)
    named, of_kind = np.asarray(objects), np.asarray(kinds)
    chosen = np.arange(len(named))
    for kind in np.unique(of_kind):
        members = np.flatnonzero(of_kind == kind)
        pool = members if len(np.unique(named[members])) > 1 else np.arange(len(named))
        order = pool[np.argsort(named[pool], kind="stable")]
        first, last = (np.searchsorted(named[order], named[members], side) for side in ("left", "right"))
        strangers = len(order) - (last - first)
        drawn = (generator.random(len(members)) * strangers).astype(int)
        chosen[members] = np.where(strangers > 0, order[(last + drawn) % len(order)], members)
    return chosen


def _averages(scores, clips, interval):
    questions = scores[:, 0].sum()
    group = dict(zip(FIGURES, (scores[:, 1:].sum(0) / questions).tolist(), strict=True))
    if interval:
        per_clip = np.zeros((clips.max() + 1, scores.shape[1]))
        np.add.at(per_clip, clips, scores)
        asked = per_clip[per_clip[:, 0] > 0]
        group["interval"] = bootstrap_interval(asked[:, :2])
        columns = {name: FIGURES.index(name) + 1 for name in ("any_ball", "soft_iou")}
        group["intervals"] = {name: bootstrap_interval(asked[:, [0, column]]) for name, column in columns.items()}
        both = {"pointing": 1, **columns}
        group["influences"] = {name: influences(per_clip[:, [0, column]]).tolist() for name, column in both.items()}
    return {**group, "words": int((scores[:, 0] > 0).sum()), "questions": int(questions)}
