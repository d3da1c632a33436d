"""Rules that choose the frames of a video for the model.

Frames are chosen by number, not by time, as in CLIP-ViP and HiLight; a video with fewer frames than the model takes
repeats some.
"""

from collections.abc import Callable

import numpy as np

from hilight_jax.core.errors import ConfigError

SAMPLINGS = ("uniform", "jittered")
# Draws an integer from ``low <= x < high``: ``Generator.integers`` or the legacy ``numpy.random.randint``.
RandomIntegers = Callable[[int, int], int]


def uniform_indices(num_total: int, num_frames: int = 12) -> np.ndarray:
    """Spreads ``num_frames`` indices over a video from its first to its last frame.

    Truncated float64 steps, as in the originals: at F = 12 (and for F up to 14, and 16, 18, 20, 24, 32) exactly
    ``floor((n - 1) k / (F - 1))``. At some other F the product can fall just below a whole number and give the
    frame before; the released models were trained on those frames, so the rule stays.

    Args:
      num_total: n, frames in the video, at least 1.
      num_frames: F, frames to choose.

    Returns:
      int64 [F], rising.
    """
    return np.linspace(0, num_total - 1, num_frames).astype(np.int64)


def jittered_endpoints(num_total: int, num_frames: int, random_integers: RandomIntegers) -> tuple[int, int, int]:
    """Draws the ends of CLIP-ViP's training sampling: ``(interval, first, last)``.

    The first frame lies within one interval of the start, the last within one interval of the end.
    """
    interval = int(num_total / max(num_frames - 1, 1))
    first = int(random_integers(0, interval + 1))
    last = int(random_integers(num_total - 1 - interval, num_total))
    return interval, first, last


def jittered_indices(num_total: int, num_frames: int, random_integers: RandomIntegers) -> np.ndarray:
    """Spreads indices evenly between two random ends (CLIP-ViP, ``get_sample_idx`` with ``sample_jitter``).

    The first draw is the start, the second the end. With F <= 2 the ends can lie outside the video, as in the original;
    ``sample_indices`` clips such indices.

    Args:
      num_total: n, frames in the video, at least 1.
      num_frames: F, frames to choose.
      random_integers: Source of the two draws, for example ``np.random.default_rng(seed).integers``.

    Returns:
      int64 [F].
    """
    _, first, last = jittered_endpoints(num_total, num_frames, random_integers)
    return np.linspace(first, last, num_frames).astype(np.int64)


def middle_index(num_total: int) -> int:
    """Returns the frame that CLIP-ViP's pretraining captions: ``int(n / 2)``."""
    return num_total // 2


def sample_indices(
    sampling: str, num_total: int, num_frames: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Chooses frames by the name of a rule out of ``SAMPLINGS``; ``jittered`` without an ``rng`` is ``uniform``.

    Raises:
      ConfigError: The rule is unknown.
    """
    if sampling not in SAMPLINGS:
        raise ConfigError(f"sampling is '{sampling}', but it must be one of {', '.join(SAMPLINGS)}.")
    if sampling == "jittered" and rng is not None:
        return np.clip(jittered_indices(num_total, num_frames, rng.integers), 0, num_total - 1)
    return uniform_indices(num_total, num_frames)
