"""Captions made false by a swap of two balls: 'the red ball hits the blue ball' becomes 'the blue ball hits the red'.

They have the words of a true caption, so that only who does what to whom tells the two apart: hard negatives for
retrieval and for training.
"""

from collections.abc import Iterator, Sequence

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
      One dict per caption: 'caption' (its number), 'text' and 'spans'; none where no swap makes it false.
    """
    pairs = sorted(set(_false_swaps(footage, told)))
    if not pairs:
        return []
    made = []
    for number, caption in enumerate(captions):
        one, other = pick(pairs, rng)
        things = {piece.name: piece for sentence in caption.all for piece in sentence if isinstance(piece, Thing)}
        exchange = {one: things[other], other: things[one]}
        told_falsely = [_exchanged(sentence, exchange) for sentence in caption.told]
        made.append({"caption": number, **written([*caption.listed, *told_falsely, *caption.comment])})
    return made


def _false_swaps(footage: Footage, told: Sequence[Happening]) -> Iterator[tuple[str, str]]:
    """Yields the pairs of named balls whose exchange makes at least one of the told facts false."""
    named = sorted({name for h in told for name in (h.ball, h.other) if name and name.startswith("ball:")})
    named += [ball for ball in footage.balls_seen() if ball not in named]
    true = {(h.kind, h.ball, h.other) for h in footage.happenings}
    for k, one in enumerate(named):
        for other in named[k + 1 :]:
            exchange = {one: other, other: one}
            for h in told:
                ball, met = exchange.get(h.ball, h.ball), exchange.get(h.other, h.other)
                if (ball, met) == (h.ball, h.other):
                    continue
                is_false = lies_left(footage, met, ball) if h.kind == LEFT else (h.kind, ball, met) not in true
                if is_false:
                    yield one, other
                    break


def _exchanged(sentence: Sentence, exchange: dict[str, Thing]) -> Sentence:
    return [exchange.get(piece.name, piece) if isinstance(piece, Thing) else piece for piece in sentence]
