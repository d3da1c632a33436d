"""The path of a thing through the maps of a clip's frames: the best one among those that a moving thing can take.

A single frame's best patch may lie on something else that looks alike. A ball moves on a path: from one frame to the
next it goes a bounded way, mostly none. So of all paths the one with the largest sum of similarities less a cost of its
way is taken, by dynamic programming over the frames (Viterbi, 1967). The cost grows with the length of a step, in the
picture's shorter sides a second, up to a constant: a ball that was hidden, or a cut, may reappear anywhere.
"""

import numpy as np
from jaxtyping import Float, Int

STEP_COST = 0.03  # Of a way of one shorter side of the picture within a second.
LARGEST_COST = 0.12  # Of any step.


def best_path(
    maps: Float[np.ndarray, "F rows columns"], times: Float[np.ndarray, " F"], keep: int = 32
) -> Int[np.ndarray, "F 2"]:
    """Returns row and column of the best path's patch in every frame.

    Args:
      maps: Similarities of the patches, in the order of the frames.
      times: Seconds of the frames, not falling.
      keep: Only so many of the best local peaks of a frame are looked at.
    """
    shorter = min(maps.shape[1:])
    candidates = [_peaks(frame, keep) for frame in maps]
    scores = maps[0][tuple(candidates[0].T)]
    came_from = []
    for number in range(1, len(maps)):
        before, here = candidates[number - 1], candidates[number]
        way = np.hypot(*(here[:, None] - before[None]).transpose(2, 0, 1)) / shorter
        pause = max(float(times[number] - times[number - 1]), 1e-3)
        totals = scores[None] - np.minimum(STEP_COST * way / pause, LARGEST_COST)
        came_from.append(totals.argmax(axis=1))
        scores = totals.max(axis=1) + maps[number][tuple(here.T)]
    last = int(scores.argmax())
    chosen = [last]
    for back in reversed(came_from):
        chosen.append(int(back[chosen[-1]]))
    return np.stack([candidates[number][k] for number, k in enumerate(reversed(chosen))])


def isolated(maps: Float[np.ndarray, "*B rows columns"]) -> Float[np.ndarray, "*B rows columns"]:
    """The excess of each patch over the mean of those that lie two patches away from it, 16 where no edge is near.

    A thing of a patch's size stands out by all of its similarity; of something larger that looks alike, such as a
    sleeve or a rail, little is left. A map of at most two rows and columns has none, and is left as it is.
    """
    rows, columns = maps.shape[-2:]

    def ring(grid: np.ndarray) -> np.ndarray:
        padded = np.pad(grid, [(0, 0)] * (grid.ndim - 2) + [(2, 2), (2, 2)])
        shifts = [(i, j) for i in range(5) for j in range(5) if max(abs(i - 2), abs(j - 2)) == 2]
        return sum(padded[..., i : i + rows, j : j + columns] for i, j in shifts)

    return maps - ring(maps) / np.maximum(ring(np.ones((rows, columns), maps.dtype)), 1)


def _peaks(frame: Float[np.ndarray, "rows columns"], keep: int) -> Int[np.ndarray, "peaks 2"]:
    """The best patches that no neighbour exceeds."""
    padded = np.pad(frame, 1, constant_values=-np.inf)
    around = [padded[i : i + frame.shape[0], j : j + frame.shape[1]] for i in range(3) for j in range(3)]
    peaks = np.argwhere(frame >= np.max(around, axis=0))
    order = np.argsort(-frame[tuple(peaks.T)], kind="stable")
    return peaks[order[:keep]]
