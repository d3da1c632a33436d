"""Writes the captions of a clip: the balls in view, in random order, the events that the frames show, and a comment.

Every visible thing that a caption names gets a span (character offsets, kind, object); a comment such as 'What a shot.'
gets none: the content language mask leaves it out.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from hilight_jax.billiards.language.footage import Footage, Happening, count_tokens, phrase

T = TypeVar("T")
OPENINGS = ("The table shows", "We see", "In view:", "On the table:")
VERBS = {
    "strike": ("strikes", "hits"),
    "rebound": ("rebounds off", "bounces off"),
    "drop": ("drops into", "falls into"),
    "hang": ("hangs in the jaws of",),
}
UNNAMED = {"rebound": "a cushion", "drop": "a pocket", "hang": "a pocket"}
COMMENTS = (
    "What a shot.",
    "A nice start.",
    "Good game tonight.",
    "Well played.",
    "Not bad at all.",
    "That took some nerve.",
    "Everyone holds their breath.",
    "A calm and patient player.",
    "Who would have thought it?",
    "Let us see what comes next.",
)
_LISTING_SHARE = 0.5  # Share of a caption's tokens that is reserved for the balls in view.


@dataclasses.dataclass(frozen=True)
class Style:
    """The style of captions.

    Attributes:
      numbers: name balls by colour and number ('the red 3-ball'), else by colour alone ('the red ball').
      max_tokens: upper bound of a caption's CLIP tokens, the two end tokens counted.
      variants: captions of one clip. They state the same facts in other words and another order.
    """

    numbers: bool = True
    max_tokens: int = 72
    variants: int = 3


def captions(footage: Footage, style: Style, rng: np.random.Generator) -> list[dict]:
    """Writes the captions of a clip, all of them of the same facts.

    Returns:
      One dict per variant: 'text' and 'spans' [{'start', 'end', 'kind', 'object'}].
    """
    listed, told = facts(footage, style)
    return [_caption(listed, told, style, rng) for _ in range(style.variants)]


def facts(footage: Footage, style: Style) -> tuple[list[str], list[Happening]]:
    """Chooses the facts of the captions: the object balls in view and the shown events, within the token budget.

    The cue ball is not listed. Up to half of the budget is reserved for the list. Drops come before other events, then
    earlier events before later ones. Where there is no room to list all balls, those that no event names come first.
    """
    in_view = [name for name in footage.balls_seen() if name != "ball:cue"]
    budget = style.max_tokens - 2 - max(map(_length, COMMENTS)) - max(map(_length, OPENINGS))
    kept_back = min(sum(_cost(name, style) for name in in_view), int(_LISTING_SHARE * budget))
    told = []
    for happening in sorted(_distinct(footage.shown), key=lambda h: (h.kind != "drop", h.time)):
        cost = max(_length(_text(_sentence(happening, verb, style))) for verb in VERBS[happening.kind])
        if cost <= budget - (kept_back if told else 0):
            told.append(happening)
            budget -= cost
    told.sort(key=lambda happening: happening.time)
    named = {name for happening in told for name in (happening.ball, happening.other)}
    return _fitting(sorted(in_view, key=lambda name: name in named), budget, style), told


def frame_caption(footage: Footage, style: Style, rng: np.random.Generator) -> dict:
    """Writes a caption of one random frame: the balls in view, and the relation of two of them.

    Returns:
      'frame', 'text' and 'spans'; the text of a frame without a ball is 'The empty cloth.'
    """
    frame = int(rng.integers(len(footage.times)))
    seen = footage.balls_seen(frame)
    if not seen:
        return {"frame": frame, "text": "The empty cloth.", "spans": []}
    seen = [seen[k] for k in rng.permutation(len(seen))]
    relation = _relation(footage, frame, seen, style)
    listed = _fitting(seen, style.max_tokens - 3 - _length(_text(relation)), style)
    sentences = [[*_listing(listed, style), "."], *([relation] if relation else [])]
    return {"frame": frame, **_written(sentences)}


@dataclasses.dataclass(frozen=True)
class _Thing:
    text: str
    name: str


def _caption(listed: Sequence[str], told: Sequence[Happening], style: Style, rng: np.random.Generator) -> dict:
    sentences = []
    if listed:
        order = [listed[k] for k in rng.permutation(len(listed))]
        sentences.append([f"{pick(OPENINGS, rng)} ", *_listing(order, style), "."])
    sentences += [_sentence(happening, pick(VERBS[happening.kind], rng), style) for happening in told]
    sentences.append([pick(COMMENTS, rng)])
    return _written(sentences)


def _relation(footage: Footage, frame: int, seen: Sequence[str], style: Style) -> list:
    """Returns a sentence on two balls of which one lies clearly left of the other, or nothing."""
    for ball, other in itertools.pairwise(seen):
        gap = footage.balls[other].x[frame] - footage.balls[ball].x[frame]
        if abs(gap) > 2 * footage.balls[ball].radius[frame]:
            return [_thing(ball, style), f" lies {'left' if gap > 0 else 'right'} of ", _thing(other, style), "."]
    return []


def _fitting(names: Sequence[str], budget: int, style: Style) -> list[str]:
    """Returns the first names that fit into an enumeration of ``budget`` tokens."""
    costs = itertools.accumulate(_cost(name, style) for name in names)
    return [name for name, cost in zip(names, costs, strict=True) if cost <= budget]


def _cost(name: str, style: Style) -> int:
    """Returns the tokens of a name in an enumeration, with its comma, 'and' or full stop."""
    return _length(phrase(name, style.numbers)) + 1


def _sentence(happening: Happening, verb: str, style: Style) -> list:
    other = UNNAMED[happening.kind] if happening.other is None else _thing(happening.other, style)
    return [_thing(happening.ball, style), f" {verb} ", other, "."]


def _listing(names: Sequence[str], style: Style) -> list:
    pieces: list = []
    for k, name in enumerate(names):
        separator = "" if k == 0 else " and " if k == len(names) - 1 else ", "
        pieces += [separator, _thing(name, style)]
    return pieces


def _thing(name: str, style: Style) -> _Thing:
    return _Thing(phrase(name, style.numbers), name)


def _written(sentences: Iterable[list]) -> dict:
    """Joins sentences, lists of strings and things, and notes the spans of the things."""
    text, spans = "", []
    for sentence in sentences:
        first = len(text) + bool(text)
        for piece in [" " if text else "", *sentence]:
            if isinstance(piece, _Thing):
                start, text = len(text), text + piece.text
                kind = piece.name.partition(":")[0]
                spans.append({"start": start, "end": len(text), "kind": kind, "object": piece.name})
            else:
                text += piece
        text = text[:first] + text[first : first + 1].upper() + text[first + 1 :]
    return {"text": text, "spans": spans}


def _distinct(happenings: Iterable[Happening]) -> list[Happening]:
    """Leaves out repeated meetings of the same two."""
    first = {}
    for happening in happenings:
        first.setdefault((happening.kind, frozenset((happening.ball, happening.other))), happening)
    return list(first.values())


def _text(sentence: list) -> str:
    return "".join(piece.text if isinstance(piece, _Thing) else piece for piece in sentence)


def _length(text: str) -> int:
    return count_tokens(text) - 2


def pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    """Returns one of the choices, each as likely as the others."""
    return choices[int(rng.integers(len(choices)))]
