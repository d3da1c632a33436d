"""Rules that choose the frames of a video for the model, and of these the key frames that the image tower encodes.

Frames are chosen by number, not by time, as in CLIP-ViP and HiLight; a video with fewer frames than the model takes
repeats some.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np

from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError

SAMPLINGS = ("uniform", "jittered")
# Draws an integer from ``low <= x < high``: ``Generator.integers`` or the legacy ``numpy.random.randint``.
RandomIntegers = Callable[[int, int], int]


def uniform_indices(num_total: int, num_frames: int = 12) -> np.ndarray:
    """Spreads F = ``num_frames`` rising indices, int64 [F], over a video of n >= 1 frames, from its first to its last.

    Truncated float64 steps, as in the originals: at F = 12 (and for F up to 14, and 16, 18, 20, 24, 32) exactly
    ``floor((n - 1) k / (F - 1))``. At some other F the product can fall just below a whole number and give the
    frame before; the released models were trained on those frames, so the rule stays.
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
    """Spreads indices, int64 [F], evenly between two random ends (CLIP-ViP, ``get_sample_idx`` with ``sample_jitter``).

    The first draw is the start, the second the end. With F <= 2 the ends can lie outside the video, as in the original;
    ``sample_indices`` clips such indices.
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


@dataclasses.dataclass(frozen=True)
class KeyFrameConfig:
    """The rule that chooses key frames.

    Attributes:
      rule: ``uniform``, the released rule, spreads them over the clip and repeats frames of a clip that has fewer;
        ``explicit`` takes those of ``indices``; ``content`` follows the change between frames. The last two never
        repeat a frame.
      count: Key frames of a clip.
      indices: Of ``explicit``: numbers among the clip's sampled frames, rising.
    """

    rule: Literal["uniform", "explicit", "content"] = "uniform"
    count: int = 12
    indices: tuple[int, ...] = ()

    def __post_init__(self):
        """Checks the fields against each other."""
        check(self, "key_frames.", lambda x: x >= 1, "at least 1", "count")
        if self.rule != "explicit":
            if self.indices:
                raise ConfigError(
                    f"key_frames.indices are {list(self.indices)}, but the rule '{self.rule}' does not read them; use "
                    f"the rule 'explicit', or leave them out."
                )
            return
        if len(self.indices) != self.count:
            raise ConfigError(
                f"key_frames.indices name {len(self.indices)} frames, but key_frames.count is {self.count}; set both "
                f"to the same number."
            )
        if any(later <= earlier for earlier, later in zip((-1, *self.indices), self.indices, strict=False)):
            raise ConfigError(
                f"key_frames.indices are {list(self.indices)}, but must be rising numbers from 0 on: no frame twice."
            )

    def check(self, num_frames: int) -> None:
        """Checks the rule against the number of a clip's sampled frames.

        Raises:
          ConfigError: Clips of ``num_frames`` frames do not have the configured key frames.
        """
        if self.rule == "explicit" and self.indices[-1] >= num_frames:
            raise ConfigError(
                f"key_frames.indices name frame {self.indices[-1]}, but a clip has the frames 0 to {num_frames - 1}; "
                f"name others, or sample more frames."
            )
        if self.rule == "content" and self.count > num_frames:
            raise ConfigError(
                f"key_frames.count is {self.count}, but a clip has {num_frames} frames and the rule 'content' repeats "
                f"none; ask for at most {num_frames}, or use the rule 'uniform'."
            )


def choose_key_frames(config: KeyFrameConfig, frames: np.ndarray) -> np.ndarray:
    """Chooses the key frames of a clip, given its sampled frames, uint8 [F, Y, X, C]; only ``content`` reads them.

    Returns:
      int32 [count], numbers among the F frames, never falling.

    Raises:
      ConfigError: The clip has too few frames for the rule.
    """
    config.check(len(frames))
    if config.rule == "explicit":
        return np.array(config.indices, np.int32)
    if config.rule == "uniform":
        return uniform_indices(len(frames), config.count).astype(np.int32)
    return _evenly_by_change(_changes(frames), config.count)


def _changes(frames: np.ndarray) -> np.ndarray:
    """Returns the change from each frame to the next, int64 [F - 1]; whole numbers keep rounding out of the choice.

    It is the sum of absolute differences over all pixels, plus one, so that a still clip is sampled evenly.
    """
    pairs = zip(frames[:-1], frames[1:], strict=True)
    return np.array([np.abs(b.astype(np.int16) - a).sum(dtype=np.int64) + 1 for a, b in pairs], np.int64)


def _evenly_by_change(changes: np.ndarray, count: int) -> np.ndarray:
    """Spreads ``count`` frames so that about as much changes between any two neighbours.

    The first and the last frame are among them; a single key frame is the one in the middle of all change. Each takes
    the nearest frame that leaves room for the others, the earlier one of two that are as near.
    """
    along = np.concatenate([[0], np.cumsum(changes)])
    steps, offset = (count - 1, 0) if count > 1 else (2, 1)
    chosen: list[int] = []
    for k in range(count):
        first, last = (chosen[-1] + 1 if chosen else 0), len(along) - (count - k)
        off = np.abs(along[first : last + 1] * steps - (k + offset) * along[-1])
        chosen.append(first + int(np.argmin(off)))
    return np.array(chosen, np.int32)
