"""A tiny chat model at work, and a tokenizer whose text can be read in an assertion."""

import functools

import numpy as np

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.generation.clip_features import ClipFeatures
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from tests.models import tiny_hilight

STOP_ID = 1


class Letters:
    """Id 1 ends an answer, ids 2 .. 27 are letters, 30 .. 33 the bytes of one character, others digits' signs."""

    vocab_size = 40
    stop_ids = (STOP_ID,)

    def decode(self, ids):
        """The text of some ids."""
        return b"".join(self._bytes(i) for i in ids).decode(errors="replace")

    def _bytes(self, i):
        if 30 <= i <= 33:
            return "\N{BILLIARDS}".encode()[i - 30 : i - 29]
        return chr(ord("a") + i - 2).encode() if 2 <= i <= 27 else b"#"


@functools.cache
def generator(max_length: int = 64, seed: int = 0, **changes) -> Generator:
    """One whose parameters are drawn; ``changes`` are fields of the model's config."""
    config = tiny_hilight.config(**changes)
    return Generator(config, tiny_hilight.params(config, seed), Letters(), max_length)


def frames(seed: int = 0) -> np.ndarray:
    """A clip uint8 [3, 8, 8, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (3, 8, 8, 3), np.uint8)


def clip(seed: int = 0, key_frames: tuple[int, ...] = (0, 2)) -> ClipFeatures:
    """Four rows of a clip."""
    return generator().encode_clip(frames(seed), np.array(key_frames))


def prompt(*parts: int | ClipFeatures) -> Prompt:
    """Ids and clips in their order."""
    ids, clips = [2], []
    for part in parts:
        clips += [part] if isinstance(part, ClipFeatures) else []
        ids += [VIDEO_ID] * len(part.tokens) if isinstance(part, ClipFeatures) else [part]
    return Prompt(np.array(ids, np.int32), tuple(clips))
