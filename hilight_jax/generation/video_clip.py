"""Reads frames of a video, at the model's size and as pictures in the video's own shape."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageOps

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.conversation import PickledClip, read_frames
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.pickled_clips import PickleError
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.data.video import Video, VideoError
from hilight_jax.pages.heatmaps import enlarge

Zoom = Literal["off", "auto"] | float | tuple[float, ...]  # See ``zoom.py``.
_UNNAMED = "the video"


class VideoClip(NamedTuple):
    """Frames of a video.

    Attributes:
      name: Of the file.
      frames: uint8 [F, y, x, 3], resized to the model's square.
      pictures: uint8 [F, Y, X, 3], the same frames in the video's own shape, at drawing size.
      numbers: Their indices in the video.
      num_total: Frames of the video.
      times: Seconds from the first frame of the video to each.
      size: Rows and columns of the video as it is shown.
      whole: uint8 [F, rows, columns, 3], the frames in the video's own size, where that was asked for.
      zoom: The zoom that they are to be looked at with, see ``zoom.py``.
    """

    name: str
    frames: UInt8[np.ndarray, "F y x 3"]
    pictures: UInt8[np.ndarray, "F Y X 3"]
    numbers: Int[np.ndarray, " F"]
    num_total: int
    times: Float[np.ndarray, " F"]
    size: tuple[int, int]
    whole: UInt8[np.ndarray, "F rows columns 3"] | None = None
    zoom: Zoom = "off"


def read_video_clip(video: Video, frames: int | Sequence[int], image_size: int, zoom: Zoom = "off") -> VideoClip:
    """Reads frames of a video, by default as a model sees it.

    Args:
      video: Path of a video file, or its bytes; or path of one of HiLight's ``.pkl`` clips, which are stored at the
        model's size.
      frames: F, the number of frames, evenly spaced from the first to the last; or their numbers, from 0.
      image_size: Rows and columns of the model's frames.
      zoom: The zoom that they are to be looked at with; for another than "off" the frames are kept in the video's own
        size too.

    Raises:
      DataError: The file cannot be read, or has no frame of such a number; the message names it.
    """
    path = "" if isinstance(video, bytes) else os.fspath(video)
    name, totals = path or _UNNAMED, []

    def choose(num_total: int) -> np.ndarray:
        totals.append(num_total)
        if isinstance(frames, int):
            return uniform_indices(num_total, frames)
        for number in frames:
            if not 0 <= number < num_total:
                raise DataError(
                    f"{name}: frame {number} was asked for, but the video has the frames 0 to {num_total - 1}."
                )
        return np.array(frames, np.int64)

    try:
        pictures, times = read_frames(PickledClip(path) if path.endswith(".pkl") else video, choose)
    except (VideoError, PickleError) as error:
        raise DataError(f"{name}: {error}") from error
    return VideoClip(
        os.path.basename(path) or _UNNAMED,
        to_uint8_size(pictures, (image_size, image_size)),
        enlarge(pictures),
        choose(totals[-1]),
        totals[-1],
        times,
        (pictures.shape[1], pictures.shape[2]),
        None if zoom == "off" else pictures,
        zoom,
    )


def read_picture(path: Path, image_size: int, zoom: Zoom = "off") -> VideoClip:
    """Reads a picture as a video of one frame, upright as its EXIF data say.

    Raises:
      DataError: The file cannot be read; the message names it.
    """
    try:
        with Image.open(path) as image:
            picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[None]
    except OSError as error:
        raise DataError(f"{path} is no picture that can be read ({error}).") from error
    small, number = to_uint8_size(picture, (image_size, image_size)), np.zeros(1, np.int64)
    size = (picture.shape[1], picture.shape[2])
    return VideoClip(path.name, small, enlarge(picture), number, 1, np.zeros(1), size, picture, zoom)
