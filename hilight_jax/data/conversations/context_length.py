"""What becomes of a conversation that is longer than the model's context."""

from typing import NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import IGNORE_ID, VIDEO_ID


class ConversationError(DataError):
    """A conversation cannot be used; the message does not repeat its name, which the caller knows better."""


class TooLong(ConversationError):
    """It has more tokens than the context holds."""


class Fitted(NamedTuple):
    """The first tokens of a conversation, as many as the context holds.

    Attributes:
      ids: int32 [n].
      labels: int32 [n].
      cut: What was cut off, as a sentence; empty where nothing was.
    """

    ids: np.ndarray
    labels: np.ndarray
    cut: str


def fit_context(ids: np.ndarray, labels: np.ndarray, max_length: int) -> Fitted:
    """Keeps the first ``max_length`` tokens, as the original does, but never a part of a clip.

    Args:
      ids: int32 [n], expanded: V rows ``VIDEO_ID`` per clip.
      labels: int32 [n].
      max_length: Tokens that the context holds.

    Raises:
      ConversationError: A clip, or everything there is to learn, lies past the end of the context.
    """
    if len(ids) <= max_length:
        return Fitted(ids, labels, "")
    too_long = f"its {len(ids)} tokens do not fit into {max_length}"
    num_video_rows = np.count_nonzero(ids == VIDEO_ID)
    if np.any(ids[max_length:] == VIDEO_ID):
        raise ConversationError(
            f"{too_long}, and the cut would go through or before a clip ({num_video_rows} of the tokens are video), "
            "which is kept whole; raise config.data.max_length, or split the conversation."
        )
    starts, ends = _answers(labels)
    if not np.any(starts < max_length):
        raise ConversationError(
            f"{too_long} ({num_video_rows} of them video), and all its answers lie in what would be cut; raise "
            "config.data.max_length, or shorten the first question."
        )
    first_cut, num_answers = int(np.searchsorted(ends, max_length, side="right")) + 1, len(starts)
    what = f"answer {first_cut}" if first_cut == num_answers else f"answers {first_cut} to {num_answers}"
    lost = f", and with them all or part of {what}" if first_cut <= num_answers else ""
    cut = f"{too_long}: the last {len(ids) - max_length} are cut{lost}."
    return Fitted(ids[:max_length], labels[:max_length], cut)


def _answers(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First token, and one past the last, of every run of tokens that are learned."""
    learned = np.concatenate([[False], labels != IGNORE_ID, [False]]).astype(np.int8)
    steps = np.diff(learned)
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
