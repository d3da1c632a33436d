"""The originals' batches: unequal lengths, padded on the side that training or generation pads on."""

from collections.abc import Sequence

import numpy as np

from hilight_jax.core.shapes import IGNORE_ID
from hilight_jax.data.conversations.gemma_tokenizer import PAD_ID


def pad_batch(
    examples: Sequence[tuple[np.ndarray, np.ndarray]], length: int, side: str = "right", pad_id: int = PAD_ID
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stacks (ids, labels) of unequal lengths.

    Args:
      examples: B pairs of int32 [n], n at most ``length``.
      length: L.
      side: ``right`` (training) or ``left`` (generation): where the padding goes.
      pad_id: Id of padding.

    Returns:
      ids int32 [B, L]; mask bool [B, L], False where the id is ``pad_id``; labels int32 [B, L], ``IGNORE_ID`` there.
    """
    ids = np.full((len(examples), length), pad_id, np.int32)
    labels = np.full((len(examples), length), IGNORE_ID, np.int32)
    for row, (example_ids, example_labels) in enumerate(examples):
        start = length - len(example_ids) if side == "left" else 0
        ids[row, start : start + len(example_ids)] = example_ids
        labels[row, start : start + len(example_ids)] = example_labels
    return ids, ids != pad_id, labels
