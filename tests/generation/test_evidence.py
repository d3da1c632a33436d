"""Contributions followed back by hand, and those of a whole conversation."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.generation.dialogue import Reply
from hilight_jax.generation.evidence import trace_answer, trace_rows, write_evidence
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.video_clip import VideoClip
from tests.models import tiny_hilight
from tests.serving.workdirs import TOKENIZER, VOCAB_SIZE

CONFIG = tiny_hilight.config(gemma=dataclasses.replace(tiny_hilight.GEMMA, vocab_size=VOCAB_SIZE))
PARAMS = tiny_hilight.params(CONFIG)
ANSWER = np.array([30, 31, 32], np.int32)


@pytest.fixture(scope="module")
def generator():
    return Generator(CONFIG, PARAMS, GemmaTokenizer(TOKENIZER), max_length=64)


@pytest.fixture(scope="module")
def prompt(generator):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    clips = tuple(generator.encode_clip(frames, np.array([0, 2])) for frames in pixels)
    return Prompt(np.array([2, 20, *[VIDEO_ID] * 4, 21, *[VIDEO_ID] * 4, 22, 23], np.int32), clips)


def test_a_row_hands_its_part_to_what_it_was_mined_from():
    """S = 2 proxies and 3 frames of 2 x 2 patches."""
    mined = np.zeros((4, 14))
    mined[0, 0] = 1  # the first proxy
    mined[1, 2] = 1  # frame 0, upper left
    mined[2, [2, 13]] = 0.5  # the same, and frame 2, lower right
    mined[3, 8] = 1  # frame 1, lower left
    evidence = trace_rows(CONFIG, np.array([0.1, 0.2, 0.4, 0.05]), mined)
    expected = np.zeros((3, 2, 2))
    expected[0, 0, 0], expected[2, 1, 1], expected[1, 1, 0] = 0.4, 0.2, 0.05
    np.testing.assert_allclose(evidence.maps, expected)
    np.testing.assert_allclose(evidence.proxies, [0.1, 0])
    assert evidence.share == pytest.approx(0.75)


def test_evidence_is_what_the_clips_rows_contributed(generator, prompt):
    own, carried = generator.contributions(prompt, ANSWER)
    assert not carried.any()
    for evidence, start, clip in zip(trace_answer(generator, prompt, ANSWER), (2, 7), prompt.clips, strict=True):
        mined = own[start : start + 4] @ clip.attention
        np.testing.assert_allclose(evidence.proxies, mined[:2], atol=1e-6)
        np.testing.assert_allclose(evidence.maps.ravel(), mined[2:], atol=1e-6)
        np.testing.assert_allclose(evidence.share, own[start : start + 4].sum(), atol=1e-6)


def test_nothing_to_follow_is_refused(generator, prompt):
    with pytest.raises(DataError, match="no clip was shown yet"):
        trace_answer(generator, Prompt(np.array([2, 20], np.int32)), ANSWER)
    with pytest.raises(DataError, match="no answer was given yet"):
        trace_answer(generator, prompt, ANSWER[:0])


def test_the_gif_shows_every_frame_of_every_clip(generator, prompt, tmp_path):
    frames = np.zeros((3, 24, 40, 3), np.uint8)
    numbers = np.array([0, 4, 9])
    clips = tuple(VideoClip(f"{name}.mp4", frames, frames, numbers, 10, numbers / 25, (24, 40)) for name in "ab")
    reply = Reply("In which?", "In the second.", ANSWER, "stop", prompt, clips, True, np.zeros(len(ANSWER) + 1))
    shares = write_evidence(tmp_path / "a.gif", generator, reply)
    assert shares == [evidence.share for evidence in trace_answer(generator, prompt, ANSWER)]
    assert all(0 < share < 1 for share in shares) and sum(shares) < 1
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 6
