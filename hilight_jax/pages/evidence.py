"""Pictures of an answer's evidence: its words above the frames of its clips, with its evidence painted over them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from hilight_jax.pages import heatmaps

_MIN_WIDTH = 320
_PAPER, _QUESTION, _ANSWER = (22, 22, 28), (150, 150, 160), (240, 240, 244)
_MARGIN, _LINE_GAP, _MAX_LINES = 8, 4, 6


class ShownClip(NamedTuple):
    """One clip of a conversation."""

    title: str  # Above its frames.
    frames: UInt8[np.ndarray, "F Y X 3"]  # In the video's own shape.
    maps: Float[np.ndarray, "F rows columns"]  # Share of each patch of each frame in the answer.
    notes: Sequence[str]  # Of each frame.


def draw_evidence(question: str, answer: str, clips: Sequence[ShownClip]) -> UInt8[np.ndarray, "frames y x 3"]:
    """Draws every frame of one or more clips, one clip after the other, under the last question and its answer.

    Colours run from the median patch to the best one of all clips together, so clips can be compared.
    """
    levels = heatmaps.scaled(np.concatenate([clip.maps for clip in clips]).astype(np.float32))
    ends = np.cumsum([len(clip.maps) for clip in clips])
    pictures = []
    for clip, level in zip(clips, np.split(levels, ends[:-1]), strict=True):
        painted = heatmaps.paint(heatmaps.enlarge(clip.frames), level)
        wide = _on_paper(painted, painted.shape[1], max(painted.shape[2], _MIN_WIDTH))  # For the words above them.
        pictures.append(heatmaps.label(wide, clip.title, clip.notes, more="more evidence"))
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (1, 2))
    caption = _caption(question, answer, width)
    return np.concatenate([_under(caption, picture, height) for picture in pictures])


def _under(caption, frames, height):
    placed = _on_paper(frames, height, caption.shape[1])
    return np.concatenate([np.broadcast_to(caption, (len(placed), *caption.shape)), placed], axis=1)


def _on_paper(frames, height, width):
    """Puts frames in the middle of a larger sheet."""
    sheet = np.empty((len(frames), height, width, 3), np.uint8)
    sheet[:] = _PAPER
    top, left = (height - frames.shape[1]) // 2, (width - frames.shape[2]) // 2
    sheet[:, top : top + frames.shape[1], left : left + frames.shape[2]] = frames
    return sheet


def _caption(question, answer, width):
    """A strip with the question, and the answer below it."""
    small, large = ImageFont.load_default(12), ImageFont.load_default(15)
    lines = [(line, small, _QUESTION) for line in _wrapped(question, small, width - 2 * _MARGIN)]
    lines += [(line, large, _ANSWER) for line in _wrapped(answer, large, width - 2 * _MARGIN)]
    height = 2 * _MARGIN + sum(round(font.size) + _LINE_GAP for _, font, _ in lines)  # pyright: ignore[reportAttributeAccessIssue]
    image = Image.new("RGB", (width, height), _PAPER)
    pen, top = ImageDraw.Draw(image), _MARGIN
    for line, font, colour in lines:
        pen.text((_MARGIN, top), line, colour, font)
        top += round(font.size) + _LINE_GAP  # pyright: ignore[reportAttributeAccessIssue]
    return np.asarray(image)


def _wrapped(text, font, width):
    """Lines no wider than `width`, broken between words or, in longer words, anywhere; a long text is cut short."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("") if lines[-1] else None
        for character in word:
            if font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], lines[_MAX_LINES - 1] + " ..."]
    return lines
