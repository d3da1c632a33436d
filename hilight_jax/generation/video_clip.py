"""Reads evenly spaced frames of a video, at the model's size and as pictures in the video's own shape."""

import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.conversation import PickledClip, read_frames
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.pickled_clips import PickleError
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.data.video import Video, VideoError
from hilight_jax.pages.heatmaps import enlarge

_UNNAMED = "the video"


class VideoClip(NamedTuple):
    """Evenly spaced frames of a video.

    Attributes:
      name: Of the file.
      frames: uint8 [F, y, x, 3], resized to the model's square.
      pictures: uint8 [F, Y, X, 3], the same frames in the video's own shape, at drawing size.
      numbers: Their indices in the video.
      num_total: Frames of the video.
    """

    name: str
    frames: UInt8[np.ndarray, "F y x 3"]
    pictures: UInt8[np.ndarray, "F Y X 3"]
    numbers: Int[np.ndarray, " F"]
    num_total: int


def read_video_clip(video: Video, num_frames: int, image_size: int) -> VideoClip:
    """Reads the frames of a video that a model sees.

    Args:
      video: Path of a video file, or its bytes; or path of one of HiLight's ``.pkl`` clips, which are stored at the
        model's size.
      num_frames: F.
      image_size: Rows and columns of the model's frames.

    Raises:
      DataError: The file cannot be read; the message names it.
    """
    path = "" if isinstance(video, bytes) else os.fspath(video)
    try:
        frames, num_total = read_frames(PickledClip(path) if path.endswith(".pkl") else video, num_frames)
    except (VideoError, PickleError) as error:
        raise DataError(f"{path or _UNNAMED}: {error}") from error
    return VideoClip(
        os.path.basename(path) or _UNNAMED,
        to_uint8_size(frames, (image_size, image_size)),
        enlarge(frames),
        uniform_indices(num_total, num_frames),
        num_total,
    )
