"""Captions made false by a swap of two balls: 'the red ball hits the blue ball' becomes 'the blue ball hits the red'.

They have the words of a true caption, so that only who does what to whom tells the two apart: hard negatives for
retrieval and for training.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from hilight_jax.billiards.language.commentary import LEFT, Written, lies_left, pick
from hilight_jax.billiards.language.footage import Footage, Happening
from hilight_jax.billiards.language.sentences import Sentence, Thing, written


def swapped(footage: Footage, captions: Sequence[Written], told: Sequence[Happening], rng: np.random.Generator) -> list:
    """Writes each caption with two balls swapped in what it tells, where that makes it false.

    Args:
      footage: the clip.
      captions: its captions, as sentences.
      told: what they tell.
      rng: draws the two balls.

    Returns:
      One dict per caption: 'caption' (its number), 'text' and 'spans'; none of a caption that no swap makes false.
    """
    made = []
    for number, caption in enumerate(captions):
        things = {piece.name: piece for sentence in caption.all for piece in sentence if isinstance(piece, Thing)}
        balls = sorted(name for name in things if name.startswith("ball:"))
        pairs = [pair for pair in itertools.combinations(balls, 2) if _is_false(footage, told, *pair)]
        if not pairs:
            continue
        one, other = pick(pairs, rng)
        exchange = {one: things[other], other: things[one]}
        told_falsely = [_exchanged(sentence, exchange) for sentence in caption.told]
        made.append({"caption": number, **written([*caption.listed, *told_falsely, *caption.comment])})
    return made


def _is_false(footage: Footage, told: Sequence[Happening], one: str, other: str) -> bool:
    """Returns True if the exchange of two balls makes at least one of the told facts false."""
    # Without a name a place is any: a drop 'into a pocket' is true of every ball that drops.
    true = {(h.kind, h.ball, other) for h in footage.happenings for other in (h.other, None)}
    exchange = {one: other, other: one}
    for h in told:
        ball, met = exchange.get(h.ball, h.ball), exchange.get(h.other or "", h.other)
        if (ball, met) == (h.ball, h.other):
            continue
        if lies_left(footage, met, ball) if h.kind == LEFT else (h.kind, ball, met) not in true:
            return True
    return False


def _exchanged(sentence: Sentence, exchange: dict[str, Thing]) -> Sentence:
    return [exchange.get(piece.name, piece) if isinstance(piece, Thing) else piece for piece in sentence]
