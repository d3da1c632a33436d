"""Pictures of evidence: attention over the frames of every clip, below question and answer."""

import numpy as np
from PIL import ImageFont

from hilight_jax.pages.evidence import ShownClip, _wrapped, draw_evidence

PAPER = (22, 22, 28)


def clip(peak, height=224, width=336, title="a.mp4"):
    maps = np.zeros((2, 4, 4))
    maps[0, 0, 3] = peak
    return ShownClip(title, np.full((2, height, width, 3), 90, np.uint8), maps, ["frame 1 of 9", "frame 9 of 9"])


def heat(drawn):
    """Pixels of a drawn frame that are neither grey nor paper."""
    colour = drawn.astype(int)
    return (np.ptp(colour, axis=-1) > 30).sum()


def body(drawn):
    """A drawn frame without the 26 px of its legend."""
    return drawn[:-26]


def test_every_frame_stands_under_question_and_answer():
    drawn = draw_evidence("Is it red?", "No.", [clip(1.0)])
    caption = 2 * 8 + (12 + 4) + (15 + 4)
    assert drawn.shape == (2, caption + 26 + 224 + 26, 336, 3) and drawn.dtype == np.uint8
    assert (drawn[0, :caption] == drawn[1, :caption]).all()
    assert (drawn[:, caption + 26 + 112 : -26 - 8, :100] == 90).all()


def test_heat_is_compared_between_clips():
    strong, _, weak, _ = (body(frame) for frame in draw_evidence("Which?", "a", [clip(1.0), clip(0.02)]))
    assert heat(strong) > 500 and heat(weak) < heat(strong) / 10
    alone, _ = (body(frame) for frame in draw_evidence("Which?", "a", [clip(0.02)]))
    assert heat(alone) == heat(strong)


def test_clips_of_other_shapes_stand_in_the_middle_of_the_same_sheet():
    drawn = draw_evidence("Which?", "a", [clip(1.0), clip(1.0, height=336, width=224)])
    assert len(drawn) == 4 and drawn.shape[2] == 336
    assert (drawn[2, 200:-60, :50] == PAPER).all() and (drawn[2, 200:-60, -50:] == PAPER).all()


def test_long_answers_are_wrapped_and_at_last_cut():
    font = ImageFont.load_default(15)
    assert _wrapped("one two", font, 400) == ["one two"]
    lines = _wrapped("the cue ball hits the red ball and " * 3, font, 150)
    assert len(lines) > 2 and all(font.getlength(line) <= 150 for line in lines)
    assert "".join(_wrapped("x" * 40, font, 100)) == "x" * 40
    assert len(_wrapped("word " * 500, font, 150)) == 6 and _wrapped("word " * 500, font, 150)[-1].endswith("...")
    assert _wrapped("", font, 100) == [""]
