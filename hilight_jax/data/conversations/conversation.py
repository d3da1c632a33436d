"""Conversations about clips, the items of every source of conversations."""

import os
from typing import NamedTuple

from hilight_jax.core.errors import DataError
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
