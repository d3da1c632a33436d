"""Pins clips bit for bit: a change of physics, renderer, commentary or questions must not pass unnoticed."""

import dataclasses
import hashlib
import json

import pytest

from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.worlds import DEMO, EDGE, TABLE

SMALL_TABLE = dataclasses.replace(TABLE, width=56, height=56, smallest_ball=0.3)
CLIPS = [
    (DEMO, "train", 0, "fa481d1067b1b535", "f7e86bc60d22f1d8"),
    (DEMO, "unseen", 1, "209734163e7f56bb", "85318f819c38271a"),
    (EDGE, "train", 0, "e878f38057dec6bf", "41e7bd52912b7239"),
    (EDGE, "validation", 3, "2bd582e83b540583", "765816d17b6d4f8a"),
    (EDGE, "unseen", 1, "327b38b7f9a0cf91", "cbf1845d6c9611ef"),
    (SMALL_TABLE, "validation", 0, "71f6476f6af20bb8", "4daa9fbb7ffc0e1d"),
]


@pytest.mark.parametrize(("world", "split", "number", "labels", "frames"), CLIPS)
def test_a_clip_is_what_it_was(world, split, number, labels, frames):
    clip = make_clip(world, split, number)
    advice = (
        "Clips have changed. If that is meant, pin the new ones, and give the world a new version if this one has been "
        "released. If nothing here was changed, the libraries or the CPU differ from those of the pins (NumPy 2.4, "
        "x86-64 with AVX2 or more)."
    )
    assert digest(json.dumps(clip.labels, sort_keys=True).encode()) == labels, advice
    assert digest(clip.frames.tobytes()) == frames, advice


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
