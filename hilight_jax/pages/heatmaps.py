"""Heat maps over video frames, for the similarity of a word to every patch.

A map is drawn from its median over the clip (clear) to its maximum (bright), so half of the patches stay unpainted and
frames of one clip can be compared. The lightness of the colours rises evenly, for print and for colour-blind readers.
Patch values are placed at patch centres and interpolated smoothly.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from hilight_jax.pages.page import text

MIN_SIDE = 224
MAX_SIDE = 480
OPACITY = 0.82

# Eleven stops of the colour map "inferno" (S. van der Walt and N. Smith, CC0).
_INFERNO = "000004 180c3c 420a68 6a176e 932667 bc3754 dd513a f3761b fca50a f6d746 fcffa4"
_STOPS = np.array([tuple(bytes.fromhex(stop)) for stop in _INFERNO.split()], float)
_INK, _PAPER, _FAINT = (240, 240, 244), (22, 22, 28), (150, 150, 160)
_BAR = 26  # height of the strips above and below a picture, px


def colours(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    """Colours, 0 to 255, of values in 0 to 1."""
    stops = np.linspace(0, 1, len(_STOPS))
    return np.stack([np.interp(values, stops, channel) for channel in _STOPS.T], -1)


def scaled(maps: Float[np.ndarray, "F rows columns"]) -> Float[np.ndarray, "F rows columns"]:
    """Scales a clip's map for drawing: its median becomes 0, as do all values below, its maximum 1. A flat map is 0."""
    low, high = np.median(maps), maps.max()
    return np.clip((maps - low) / (high - low), 0, 1) if high > low else np.zeros_like(maps)


def drawing_size(height: int, width: int) -> tuple[int, int]:
    """Size at which frames are drawn: the shorter side at least MIN_SIDE, else the longer at most MAX_SIDE."""
    factor = MIN_SIDE / min(height, width)
    if factor < 1:
        factor = max(factor, min(1.0, MAX_SIDE / max(height, width)))
    return round(height * factor), round(width * factor)


def enlarge(frames: UInt8[np.ndarray, "F Y X 3"]) -> UInt8[np.ndarray, "F y x 3"]:
    """Frames at drawing size."""
    height, width = drawing_size(*frames.shape[1:3])
    resized = [Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC) for frame in frames]
    return np.stack([np.asarray(frame) for frame in resized])


def overlay(
    frames: UInt8[np.ndarray, "F Y X 3"], maps: Float[np.ndarray, "F rows columns"]
) -> UInt8[np.ndarray, "F y x 3"]:
    """Paints a word's map over a clip, at drawing size; bright colours are more opaque."""
    return paint(enlarge(frames), scaled(np.asarray(maps, np.float32)))


def paint(
    frames: UInt8[np.ndarray, "F y x 3"], levels: Float[np.ndarray, "F rows columns"]
) -> UInt8[np.ndarray, "F y x 3"]:
    """Paints levels of 0 (clear) to 1 (bright) over frames of any size."""
    height, width = frames.shape[1:3]
    painted = []
    for frame, value in zip(frames, levels, strict=True):
        smooth = Image.fromarray(value).resize((width, height), Image.Resampling.BICUBIC)
        heat = np.clip(np.asarray(smooth), 0, 1)
        alpha = OPACITY * heat[..., None]
        calm = 0.75 * frame + 0.25 * frame.mean(-1, keepdims=True)  # a little greyer, so that heat stands out
        painted.append((1 - alpha) * calm + alpha * colours(heat))
    return np.rint(painted).astype(np.uint8)


def ring(
    frames: UInt8[np.ndarray, "F y x 3"],
    centres: Float[np.ndarray, "F 2"],
    radii: Float[np.ndarray, " F"],
    shown: Sequence[bool],
    colour: tuple[int, int, int] = (255, 255, 255),
) -> UInt8[np.ndarray, "F y x 3"]:
    """Circles the place of a thing, in pixels of `frames`: a colour with a dark rim, where `shown`."""
    circled = []
    for frame, (x, y), radius, show in zip(frames, centres, radii, shown, strict=True):
        image = Image.fromarray(frame)
        if show:
            fine = Image.new("RGBA", (image.width * 4, image.height * 4), (*colour, 0))
            pen = ImageDraw.Draw(fine)
            for ink, width, grow in (((0, 0, 0, 150), 14, 4.0), ((*colour, 255), 7, 3.0)):
                reach = 4 * (radius + grow)
                pen.ellipse((4 * x - reach, 4 * y - reach, 4 * x + reach, 4 * y + reach), outline=ink, width=width)
            smooth = fine.resize(image.size, Image.Resampling.BOX)
            image.paste(smooth, mask=smooth)
        circled.append(np.asarray(image))
    return np.stack(circled)


def label(
    frames: UInt8[np.ndarray, "F y x 3"],
    title: str,
    notes: Sequence[str],
    ringed: bool = False,
    more: str = "more similar",
) -> UInt8[np.ndarray, "F y_labelled x 3"]:
    """Puts a title above every frame, and below it a note and the legend of colours, from "less" to `more`."""
    height, width = frames.shape[1:3]
    bold, small = ImageFont.load_default(15), ImageFont.load_default(11)
    labelled = []
    for frame, note in zip(frames, notes, strict=True):
        image = Image.new("RGB", (width, height + 2 * _BAR), _PAPER)
        image.paste(Image.fromarray(frame), (0, _BAR))
        pen = ImageDraw.Draw(image)
        pen.text((8, _BAR // 2), _shortened(title, bold, width - 16), _INK, bold, anchor="lm")
        bottom = height + _BAR + _BAR // 2
        legend = colours(np.linspace(0, 1, 64))[None].repeat(6, 0)
        image.paste(Image.fromarray(legend.astype(np.uint8)), (32, bottom - 3))
        pen.text((28, bottom), "less", _FAINT, small, anchor="rm")
        pen.text((100, bottom), more, _FAINT, small, anchor="lm")
        pen.text(
            (width - 8, bottom), ("ring: true place   " if ringed and width > 300 else "") + note, _FAINT, small, "rm"
        )
        labelled.append(np.asarray(image))
    return np.stack(labelled)


def save_gif(file: Path | BinaryIO, frames: UInt8[np.ndarray, "F y x 3"], seconds: float = 0.6) -> None:
    """Writes an endless GIF, `seconds` a frame, the last one twice as long."""
    pictures = [_indexed(frame) for frame in frames]
    durations = [round(1000 * seconds)] * (len(pictures) - 1) + [round(2000 * seconds)]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False)


def save_clip(path: Path, frames: UInt8[np.ndarray, "F y x 3"], alternative: str) -> str:
    """Writes a drawn clip as a GIF of about four seconds; returns its element for a page beside it."""
    save_gif(path, frames, seconds=min(max(4.0 / len(frames), 0.2), 0.8))
    size = f'width="{frames.shape[2]}" height="{frames.shape[1]}"'
    return f'<img src="{path.name}" {size} loading="lazy" alt="{text(alternative)}">'


def save_strip(path: Path, frames: UInt8[np.ndarray, "F y x 3"], height: int = 150) -> None:
    """Writes all frames side by side as one JPEG."""
    width = round(frames.shape[2] * height / frames.shape[1])
    strip = Image.new("RGB", (len(frames) * width + 2 * (len(frames) - 1), height), _PAPER)
    for i, frame in enumerate(frames):
        strip.paste(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS), (i * (width + 2), 0))
    strip.save(path, quality=88)


def _indexed(frame):
    """Reduces a frame to 256 colours; a swatch keeps heat colours in the palette, as a peak covers few pixels."""
    heat = colours(np.linspace(0, 1, 64)).astype(np.uint8)
    rows = max(frame.shape[0] // 4, 1)
    swatch = np.resize(heat, (rows, frame.shape[1], 3))
    picture = Image.fromarray(frame)
    palette = Image.fromarray(np.concatenate([frame, swatch])).quantize(256, Image.Quantize.FASTOCTREE)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _shortened(title, font, width):
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(title + "…") > width:
        title = title[:-1]
    return title.rstrip() + "…"
