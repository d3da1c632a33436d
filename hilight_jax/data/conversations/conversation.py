"""Conversations about clips, the items of every source of conversations, and the frames of their clips."""

import os
from typing import NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import CLIP_MEAN, CLIP_STD
from hilight_jax.data import transforms, video
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.pickled_clips import read_pickled_clip
from hilight_jax.data.video import Video

VIDEO_MARK = "<video>"
ROLES = ("user", "model")


class PickledClip(NamedTuple):
    """A clip stored as HiLight's ``.pkl``: float32 [F, C, Y, X], already resized and normalised.

    Attributes:
      path: The file; ``data/pickled_clips.read_pickled_clip`` reads it.
    """

    path: str | os.PathLike


class Turn(NamedTuple):
    """One message.

    Attributes:
      role: ``user`` or ``model``.
      text: The words. A user turn may carry ``<video>`` marks: each stands for the next clip of the conversation.
    """

    role: str
    text: str


class Conversation(NamedTuple):
    """Turns of a user and a model about some clips.

    Attributes:
      id: Names it within its source.
      videos: The clips, in the order of their ``<video>`` marks; empty for a conversation without.
      turns: User and model in turn, user first. In training the last turn is the model's.
      types: Kind of question that each answer answers, one per model turn, '' where unknown; empty where all are.
      fault: A sentence if its entry in a file could not be read, else empty; a faulty one has neither videos nor turns,
        and ``checks.check_conversation`` refuses it.
    """

    id: str
    videos: tuple[Video | PickledClip, ...]
    turns: tuple[Turn, ...]
    types: tuple[str, ...] = ()
    fault: str = ""


class ConversationError(DataError):
    """A conversation cannot be used; the caller adds its name to the message."""


class TooLong(ConversationError):
    """A conversation has more tokens than the context holds."""


def load_clip(clip: Video | PickledClip, num_frames: int, image_size: int) -> np.ndarray:
    """Loads frames spread evenly over a clip, uint8 [F, Y, X, C], resized to ``image_size`` rows and columns.

    A clip that has fewer than F = ``num_frames`` frames repeats some.

    Raises:
      VideoError: The video cannot be decoded.
      PickleError: The file holds anything but a clip.
    """
    frames, _ = read_frames(clip, num_frames)
    return transforms.to_uint8_size(frames, (image_size, image_size))


def read_frames(clip: Video | PickledClip, num_frames: int) -> tuple[np.ndarray, int]:
    """Reads the frames that `load_clip` resizes; raises what it does.

    HiLight's pickled clips were resized and normalised before they were stored. They are turned into pixels again, at
    most half a grey level off, except where the bicubic filter overshot black or white.

    Returns:
      uint8 [F, Y, X, C] in the clip's own shape, and the number of frames that the clip has.
    """
    if isinstance(clip, PickledClip):
        stored = read_pickled_clip(clip.path)
        return _pixels(stored[uniform_indices(len(stored), num_frames)]), len(stored)
    totals = []

    def choose(num_total: int) -> np.ndarray:
        totals.append(num_total)
        return uniform_indices(num_total, num_frames)

    return video.decode(clip, choose), totals[-1]


def _pixels(normalised: np.ndarray) -> np.ndarray:
    """Undoes CLIP's normalisation: float32 [F, C, Y, X] to uint8 [F, Y, X, C]."""
    mean, deviation = (np.array(values, np.float32) for values in (CLIP_MEAN, CLIP_STD))
    frames = (np.moveaxis(normalised, 1, -1) * deviation + mean) * 255
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)
