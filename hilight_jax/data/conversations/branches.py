"""Joins conversations about the same clips to one row: the clips are the trunk of a tree, each conversation a branch.

A token of a branch sees the trunk and its own branch, and its position follows the trunk's, so every branch is read as
if it stood alone, and the clips take their rows once. Molmo trains on images with many annotations so (arXiv
2409.17146).
"""

from collections.abc import Sequence

import numpy as np

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.conversations.conversation import Conversation
from hilight_jax.data.conversations.phrases import Words
from hilight_jax.data.conversations.prompts import Fitted
from hilight_jax.data.conversations.words import PHRASE_BUCKETS


def branches_of(conversation: Conversation) -> list[Conversation]:
    """The branches of a conversation, each a conversation of its own; the whole of one that has none."""
    starts = conversation.branches
    if not starts:
        return [conversation]
    ends = (*starts[1:], len(conversation.turns))
    return [
        conversation._replace(turns=conversation.turns[start:end], types=(), notes=(), branches=())
        for start, end in zip(starts, ends, strict=True)
    ]


def join(parts: Sequence[Fitted], words: Sequence[Words], max_length: int) -> tuple[Fitted, Words]:
    """Joins branches, which begin with the same clips, to one row; those that do not fit behind the first are dropped.

    Args:
      parts: The tokens of each branch.
      words: What each names.
      max_length: Tokens that the row has room for.

    Returns:
      The row; a phrase that several branches name has one number. Of more phrases than a row has room for, the latest
      are kept.
    """
    trunk = int(max(np.flatnonzero(parts[0].ids == VIDEO_ID), default=0)) + 1  # Without a clip it is <bos>.
    lengths = np.cumsum([len(part.ids) - (trunk if number else 0) for number, part in enumerate(parts)])
    kept = max(1, int(np.searchsorted(lengths, max_length, side="right")))
    cut = parts[0].cut
    if kept < len(parts):
        cut = cut or f"its {lengths[-1]} tokens do not fit into {max_length}: of {len(parts)} branches {kept} are kept."
    first, *others = parts[:kept]
    numbers: dict[str, int] = {}
    rows = []
    for found in words[:kept]:
        mapped = [0, *(numbers.setdefault(phrase, len(numbers) + 1) for phrase in found.phrases)]
        rows.append(np.array(mapped, np.int32)[found.rows])

    def joined(whole: np.ndarray, behind: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([whole, *(x[trunk:] for x in behind)])

    branch = [np.where(np.arange(len(part.ids)) < trunk, 0, k) for k, part in enumerate(parts[:kept], 1)]
    row = Fitted(
        joined(first.ids, [part.ids for part in others]),
        joined(first.labels, [part.labels for part in others]),
        cut,
        joined(first.positions, [part.positions for part in others]),
        joined(branch[0], branch[1:]).astype(np.int32),
    )
    surplus = max(len(numbers) - PHRASE_BUCKETS[-1], 0)
    return row, Words(np.maximum(joined(rows[0], rows[1:]) - surplus, 0), tuple(numbers)[surplus:])
