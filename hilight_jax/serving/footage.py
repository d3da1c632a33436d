"""A video as a model looks at it, and as it was filmed."""

import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from hilight_jax.core.errors import DataError
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.data.video import Video, VideoError, decode
from hilight_jax.pages.heatmaps import enlarge


class Footage(NamedTuple):
    """Evenly spread frames of a video.

    Attributes:
      name: Of the file.
      frames: uint8 [F, y, x, 3], squeezed into the model's square.
      pictures: uint8 [F, Y, X, 3], the same frames in the video's own shape, at drawing size.
      numbers: Which frames of the video they are, from 0.
      num_total: Frames of the video.
    """

    name: str
    frames: UInt8[np.ndarray, "F y x 3"]
    pictures: UInt8[np.ndarray, "F Y X 3"]
    numbers: Int[np.ndarray, " F"]
    num_total: int


def read_footage(video: Video, num_frames: int, image_size: int) -> Footage:
    """Decodes the frames of a video that a model sees.

    Args:
      video: Path of a video file, or its bytes.
      num_frames: F.
      image_size: Rows and columns of the model's frames.

    Raises:
      DataError: It is no such file or cannot be decoded; the message names it.
    """
    name = "the video" if isinstance(video, bytes) else os.path.basename(os.fspath(video))
    totals = []

    def choose(total: int) -> np.ndarray:
        totals.append(total)
        return uniform_indices(total, num_frames)

    try:
        frames = decode(video, choose)
    except VideoError as error:
        raise DataError(f"{name if isinstance(video, bytes) else os.fspath(video)}: {error}") from error
    numbers = uniform_indices(totals[-1], num_frames)
    return Footage(name, to_uint8_size(frames, (image_size, image_size)), enlarge(frames), numbers, totals[-1])
