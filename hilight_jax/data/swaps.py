"""False captions of a clip, kept in its labels beside the true ones: hard negatives of training and evaluation.

The label 'swaps' is a list of objects with 'caption', the number of the true caption from which it was made, and
'text'. An empty list is a clip whose captions no swap makes false.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.records import Record


class Swap(NamedTuple):
    """A text that is false of a clip, and the number of the caption that it differs from in what it tells."""

    caption: int
    text: str


def has_swaps(record: Record) -> bool:
    """Returns True if the labels of a record have the list, which may be empty."""
    return "swaps" in (record.labels or {})


def read_swaps(record: Record, source: str) -> tuple[Swap, ...]:
    """Returns the false captions of a record of ``source``.

    Raises:
      DataError: Its labels have no list 'swaps', or one of another form.
    """
    where = f"{source}, clip {record.id}"
    if not has_swaps(record):
        raise DataError(
            f"{where} has no list 'swaps' in its labels, which config.data.swaps needs; set that to 0, or take clips "
            "of a world that writes them, such as demo-v2."
        )
    swaps = []
    for entry in record.labels["swaps"]:
        caption, text = entry.get("caption"), entry.get("text")
        if not (isinstance(caption, int) and 0 <= caption < len(record.captions) and isinstance(text, str)):
            raise DataError(
                f"{where}: a swap needs the number of one of the {len(record.captions)} captions, 'caption', and a "
                f"string, 'text', not {entry!r:.80}."
            )
        swaps.append(Swap(caption, text))
    return tuple(swaps)


def choose_swaps(swaps: Sequence[Swap], caption: int, count: int, rng: np.random.Generator | None) -> list[Swap]:
    """Returns at most ``count`` swaps: first those of the shown ``caption``, then others, drawn, or as they come.

    The caption's own differ from it in the two balls alone; the others in their wording as well.
    """
    others = list(swaps) if rng is None else [swaps[i] for i in rng.permutation(len(swaps))]
    return sorted(others, key=lambda swap: swap.caption != caption)[:count]
