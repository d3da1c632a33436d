"""What a conversation's cache holds, so that its next turn is read from where it goes on."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.generation.clip_features import ClipFeatures
from hilight_jax.models.gemma import Cache


class Prompt(NamedTuple):
    """What a model is asked.

    Attributes:
      ids: int32 [n], expanded: each clip's V rows carry ``VIDEO_ID``.
      clips: The clips, in the order of their rows.
    """

    ids: np.ndarray
    clips: tuple[ClipFeatures, ...] = ()

    def rows(self) -> list[int | str]:
        """What stands in each row: an id, or the digest of the clip that it belongs to."""
        digests = iter([clip.digest for clip in self.clips for _ in range(len(clip.tokens))])
        return [next(digests) if i == VIDEO_ID else i for i in np.asarray(self.ids).tolist()]


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """A conversation as far as it was read.

    Attributes:
      rows: What was read, see ``Prompt.rows``.
      slots: The cache's slot of each row; padding leaves holes.
      cache: Keys and values, of this conversation alone (B = 1).
    """

    rows: list[int | str]
    slots: list[int]
    cache: Cache

    def shared(self, rows: Sequence[int | str]) -> int:
        """How many rows of another conversation are the first ones of this."""
        pairs = enumerate(zip(self.rows, rows, strict=False))
        return next((i for i, (mine, other) in pairs if mine != other), min(len(self.rows), len(rows)))

    def cut(self, count: int, num_slots: int) -> tuple[Cache, int]:
        """The cache with only the first ``count`` rows in it, and its first free slot.

        Args:
          count: At least 1.
          num_slots: Slots that it shall have behind those, at least; it grows to the next size where it has fewer.
        """
        used, cache = self.slots[count - 1] + 1, self.cache
        missing = slot_count(used + num_slots) - cache.mask.shape[1]
        if missing > 0:
            k, v = (jnp.pad(x, [(0, 0), (0, 0), (0, missing), (0, 0), (0, 0)]) for x in (cache.k, cache.v))
            cache = Cache(k, v, jnp.pad(cache.mask, [(0, 0), (0, missing)]), cache.length)
        # What stands in later slots is never seen: a query sees no slot behind its own, and each is written by then.
        return dataclasses.replace(cache, length=jnp.int32(used)), used


def bucket_length(length: int) -> int:
    """The next length of 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, ...: four to an octave, at most a quarter too long.

    Each is a program of its own, so there are few.
    """
    step = 4
    while 8 * step < length:
        step *= 2
    return max(16, -(-length // step) * step)


def slot_count(length: int) -> int:
    """The next power of two from 16 on: a cache's slots cost little, a program for every size much."""
    return max(16, 1 << (length - 1).bit_length())
