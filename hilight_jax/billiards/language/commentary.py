"""Writes the captions of a clip: the balls in view, in random order, the events that the frames show, and a comment.

Every visible thing that a caption names gets a span (character offsets, kind, object); a comment such as 'What a shot.'
gets none: the content language mask leaves it out.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from hilight_jax.billiards.language.footage import Footage, Happening, count_tokens, phrase
from hilight_jax.billiards.language.sentences import Sentence, Thing, listing, plain_text, written

T = TypeVar("T")
OPENINGS = ("The table shows", "We see", "In view:", "On the table:")
CLOTH_OPENINGS = ("On {}:", "On {} we see", "{} shows", "On {} lie")
LEFT = "left"  # The kind of a told fact that is no event: a ball lies left of another one from first to last.
VERBS = {
    "strike": ("strikes", "hits"),
    "rebound": ("rebounds off", "bounces off"),
    "drop": ("drops into", "falls into"),
    "hang": ("hangs in the jaws of",),
    LEFT: ("lies left of", "is left of"),
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
_CLOTH_SHARE, _WHITE_SHARE = 0.5, 0.25  # Shares of rich captions that name the cloth, and the cue ball by its colour.


@dataclasses.dataclass(frozen=True)
class Style:
    """The style of captions.

    Attributes:
      numbers: name balls by colour and number ('the red 3-ball'), else by colour alone ('the red ball').
      max_tokens: upper bound of a caption's CLIP tokens, the two end tokens counted.
      variants: captions of one clip. They state the same facts in other words and another order.
      rich: list the cue ball too, name the cloth in some captions, tell a relation where nothing happens, and store
        false captions beside them; ask questions in many wordings and of more kinds.
    """

    numbers: bool = True
    max_tokens: int = 72
    variants: int = 3
    rich: bool = False


class Written(NamedTuple):
    """The sentences of a caption: the list of what is in view, what is told of it, and a comment."""

    listed: list[Sentence]
    told: list[Sentence]
    comment: list[Sentence]

    @property
    def all(self) -> list[Sentence]:
        """All sentences in their order."""
        return [*self.listed, *self.told, *self.comment]


def captions(footage: Footage, style: Style, rng: np.random.Generator) -> list[dict]:
    """Writes the captions of a clip, all of them of the same facts.

    Returns:
      One dict per variant: 'text' and 'spans' [{'start', 'end', 'kind', 'object'}].
    """
    listed, told = facts(footage, style)
    return [written(caption_sentences(footage, listed, told, style, rng).all) for _ in range(style.variants)]


def caption_sentences(
    footage: Footage, listed: Sequence[str], told: Sequence[Happening], style: Style, rng: np.random.Generator
) -> Written:
    """Writes one caption of the facts that `facts` chose."""
    white = style.rich and rng.random() < _WHITE_SHARE
    names_cloth = style.rich and footage.cloth is not None and rng.random() < _CLOTH_SHARE
    sentences = []
    if listed:
        order = [listed[k] for k in rng.permutation(len(listed))]
        opening = [f"{pick(OPENINGS, rng)} "]
        if names_cloth:
            opening = _on_the_cloth(pick(CLOTH_OPENINGS, rng), footage.cloth)
        sentences.append([*opening, *_listed(order, style), "."])
    events = [_sentence(happening, pick(VERBS[happening.kind], rng), style) for happening in told]
    caption = Written(sentences, events, [[pick(COMMENTS, rng)]])
    return Written(*([[_whitened(piece) for piece in s] for s in part] for part in caption)) if white else caption


def facts(footage: Footage, style: Style) -> tuple[list[str], list[Happening]]:
    """Chooses the facts of the captions: the object balls in view and the shown events, within the token budget.

    The cue ball is listed in the rich style only. Up to half of the budget is reserved for the list. Drops come before
    other events, then earlier events before later ones. Where there is no room to list all balls, those that no event
    names come first. In the rich style, where no event is shown, the relation of two balls is told instead.
    """
    in_view = [name for name in footage.balls_seen() if style.rich or name != "ball:cue"]
    openings = (*OPENINGS, *(opening.format("the cloth cloth") for opening in CLOTH_OPENINGS if style.rich))
    budget = style.max_tokens - 2 - max(map(_length, COMMENTS)) - max(map(_length, openings))
    kept_back = min(sum(_cost(name, style) for name in in_view), int(_LISTING_SHARE * budget))
    told = []
    for happening in sorted(_distinct(footage.shown), key=lambda h: (h.kind != "drop", h.time)):
        cost = max(_length(plain_text(_sentence(happening, verb, style))) for verb in VERBS[happening.kind])
        if cost <= budget - (kept_back if told else 0):
            told.append(happening)
            budget -= cost
    told.sort(key=lambda happening: happening.time)
    if style.rich and not told:
        told = _outermost(footage)
        budget -= sum(_length(plain_text(_sentence(told[0], verb, style))) for verb in VERBS[LEFT][:1]) if told else 0
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
    listed = _fitting(seen, style.max_tokens - 3 - _length(plain_text(relation)), style)
    sentences = [[*_listed(listed, style), "."], *([relation] if relation else [])]
    return {"frame": frame, **written(sentences)}


def lies_left(footage: Footage, ball: str, other: str) -> bool:
    """Returns True if a ball is in view, with another one, and clearly left of it, in the first and the last frame."""
    tracks = footage.balls[ball], footage.balls[other]
    return all(
        all(track.seen(frame) for track in tracks)
        and tracks[1].x[frame] - tracks[0].x[frame] > 2 * tracks[0].radius[frame]
        for frame in (0, footage.last)
    )


def _outermost(footage: Footage) -> list[Happening]:
    """Returns the fact that the leftmost ball lies left of the rightmost one, if it does."""
    seen = sorted(footage.balls_seen(0), key=lambda name: footage.balls[name].x[0])
    if len(seen) < 2 or not lies_left(footage, seen[0], seen[-1]):
        return []
    return [Happening(LEFT, 0.0, seen[0], seen[-1], 0, shown=True)]


def _on_the_cloth(opening: str, cloth: str) -> list[str | Thing]:
    before, after = opening.split("{}")
    return [before, Thing(f"the {cloth} cloth", f"cloth:{cloth}"), f"{after} " if after else after]


def _whitened(piece: str | Thing) -> str | Thing:
    return piece._replace(text="the white ball") if isinstance(piece, Thing) and piece.name == "ball:cue" else piece


def _listed(names: Sequence[str], style: Style) -> list[str | Thing]:
    return listing([_thing(name, style) for name in names])


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


def _thing(name: str, style: Style) -> Thing:
    return Thing(phrase(name, style.numbers), name)


def _distinct(happenings: Iterable[Happening]) -> list[Happening]:
    """Leaves out repeated meetings of the same two."""
    first = {}
    for happening in happenings:
        first.setdefault((happening.kind, frozenset((happening.ball, happening.other))), happening)
    return list(first.values())


def _length(text: str) -> int:
    return count_tokens(text) - 2


def pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    """Returns one of the choices, each as likely as the others."""
    return choices[int(rng.integers(len(choices)))]
