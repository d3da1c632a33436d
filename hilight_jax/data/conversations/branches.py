"""Joins conversations about the same clips to one row: the clips are the trunk of a tree, each conversation a branch.

A token of a branch sees the trunk and its own branch, and its position follows the trunk's, so every branch is read as
if it stood alone, and the clips take their rows once. Molmo trains on images with many annotations so (arXiv
2409.17146).
"""

from collections.abc import Iterable, Sequence

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
    parts, words = parts[:kept], words[:kept]
    numbers: dict[str, int] = {}
    rows = []
    for found in words:
        mapped = [0, *(numbers.setdefault(phrase, len(numbers) + 1) for phrase in found.phrases)]
        rows.append(np.array(mapped, np.int32)[found.rows])

    def joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate([x[trunk if number else 0 :] for number, x in enumerate(arrays)])

    branch = joined(np.full(len(part.ids), number, np.int32) for number, part in enumerate(parts, 1))
    branch[:trunk] = 0
    ids, labels, positions = (joined(getattr(part, name) for part in parts) for name in ("ids", "labels", "positions"))
    surplus = max(len(numbers) - PHRASE_BUCKETS[-1], 0)
    shown = Words(np.maximum(joined(rows) - surplus, 0), tuple(numbers)[surplus:])
    return Fitted(ids, labels, cut, positions, branch), shown
