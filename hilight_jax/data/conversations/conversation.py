"""Conversations about clips, the items of every source of conversations, and the frames of their clips."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

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


class Note(NamedTuple):
    """Notes on one question and its answer, beside its type; empty where nothing is known.

    Attributes:
      wording: ``trained``, or ``held_out`` if training never asks in these words.
      about: The same for all wordings of one question.
      accepted: All right answers, a short one first.
    """

    wording: str = ""
    about: str = ""
    accepted: tuple[str, ...] = ()


class Conversation(NamedTuple):
    """Turns of a user and a model about some clips.

    Attributes:
      id: Names it within its source.
      videos: The clips, in the order of their ``<video>`` marks; empty for a conversation without.
      turns: User and model in turn, user first. In training the last turn is the model's.
      types: Kind of question that each answer answers, one per model turn, '' where unknown; empty where all are.
      fault: A sentence if its entry in a file could not be read, else empty; a faulty one has neither videos nor turns,
        and ``checks.check_conversation`` refuses it.
      notes: On every question, one per model turn; empty where nothing is known.
      labels: Labels of every clip, see ``Record``; empty where nothing is known.
      branches: Numbers of the turns that begin a branch: a conversation about the same clips that does not see the
        others (branches.py). Its first turn shows all clips. Empty where all turns are one conversation.
    """

    id: str
    videos: tuple[Video | PickledClip, ...]
    turns: tuple[Turn, ...]
    types: tuple[str, ...] = ()
    fault: str = ""
    notes: tuple[Note, ...] = ()
    labels: tuple[Mapping[str, Any], ...] = ()
    branches: tuple[int, ...] = ()


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
    frames, _ = read_frames(clip, lambda num_total: uniform_indices(num_total, num_frames))
    return transforms.to_uint8_size(frames, (image_size, image_size))


def read_frames(
    clip: Video | PickledClip, choose: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, Float[np.ndarray, " chosen"]]:
    """Reads frames of a clip; raises what `load_clip` does, and an IndexError for a number that it has not.

    HiLight's pickled clips were resized and normalised before they were stored. They are turned into pixels again, at
    most half a grey level off, except where the bicubic filter overshot black or white. They have no times.

    Args:
      clip: A video or a pickled clip.
      choose: Maps the number of frames of the clip to those that are read.

    Returns:
      uint8 [chosen, Y, X, C] in the clip's own shape, and their times, see ``video.decode_timed``.
    """
    if isinstance(clip, PickledClip):
        stored = read_pickled_clip(clip.path)
        numbers = np.asarray(choose(len(stored)))
        return _pixels(stored[numbers]), numbers / video.USUAL_RATE
    return video.decode_timed(clip, choose)


def _pixels(normalised: np.ndarray) -> np.ndarray:
    """Undoes CLIP's normalisation: float32 [F, C, Y, X] to uint8 [F, Y, X, C]."""
    mean, deviation = (np.array(values, np.float32) for values in (CLIP_MEAN, CLIP_STD))
    frames = (np.moveaxis(normalised, 1, -1) * deviation + mean) * 255
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)
