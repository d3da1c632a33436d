"""Follow-up questions: they refer back to the question before them and to its answer ("and after that?", "it").

Of two answers a coin decides which one is right, by the choice of the ball that is named, where both are possible.
"""

from collections.abc import Callable

import numpy as np

from hilight_jax.billiards.language.answers import NO_BALL
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import SEEN, Footage
from hilight_jax.billiards.language.pairs import side
from hilight_jax.billiards.language.places import place
from hilight_jax.billiards.language.posed import Posed

FOLLOW_UP = "follow_up"
_NOTHING_SHARE = 0.3  # Share of "and after that?" after the cue ball's last hit.
_SAME_SHARE = 0.25  # Share of "and at the end?" where the count is the same.
TEMPLATES = {
    "follow_up:after": (
        "(and|) (what|which one|which ball) (after that|next|then)?",
        "and (after that|then|next)?",
        "which (ball|one) does it (hit|strike|touch) (after that|next|then)?",
        "(and which|which) (ball|one) is (hit|struck) (after that|next|second)?",
        "what does it (hit|strike) (after that|next|then)?",
    ),
    "follow_up:place": (
        "(and |)where is it [end]?",
        "(and |)where do you see it [end]?",
        "(and |)in which part of the picture is it [end]?",
        "[end], where is it?",
        "where in the (picture|frame) is it [end]?",
    ),
    "follow_up:side": (
        "(and |)is it (left or right|to the left or to the right) of {b} [end]?",
        "left or right of {b} [end]?",
        "[end], is it left or right of {b}?",
        "(and |)on which side of {b} is it [end], left or right?",
    ),
    "follow_up:other_side": (
        "and (compared to|relative to|as seen from) {b}?",
        "and (left or right|on which side) of {b}?",
        "(and |)is it left or right of {b} [end]?",
        "what about {b}: is it left or right of that one?",
    ),
    "follow_up:pocket": (
        "(into which|in which|which) (pocket|one)?",
        "and (into which|in which|which) (pocket|one)?",
        "which pocket does it (fall|drop|go) into?",
        "(into|in) which pocket does it (fall|drop|go)?",
    ),
    "follow_up:count": (
        "and [end]?",
        "and how many (are there|are in view|can you see) [end]?",
        "how many [end]?",
        "how many (are left|are still in view) [end]?",
    ),
}


def follow_up(footage: Footage, parent: Posed, rng: np.random.Generator) -> Posed | None:
    """Draws a question that continues another one, its parent; None where nothing can follow."""
    makers = _AFTER.get(parent.kind, ())
    found = [posed for make in makers if (posed := make(footage, parent, rng)) is not None]
    return pick(found, rng) if found else None


def _next_hit(footage: Footage, parent: Posed, rng: np.random.Generator) -> Posed | None:
    """The second ball that the cue ball hits, if the frames show it by itself, or none."""
    strikes = [h for h in footage.happenings if h.kind == "strike" and "ball:cue" in (h.ball, h.other)]
    if len(strikes) == 1 and footage.balls["ball:cue"].seen(footage.last):
        return Posed(FOLLOW_UP, NO_BALL, {}, "after") if rng.random() < _NOTHING_SHARE else None
    second = strikes[1] if len(strikes) > 1 else None
    if second is None or not second.shown or second.ball != "ball:cue" or second.other == parent.answer:
        return None
    alone = all(h.frame > second.frame for h in strikes[2:])
    return Posed(FOLLOW_UP, second.other, {}, "after") if alone else None


def _place(footage: Footage, parent: Posed, rng: np.random.Generator) -> Posed | None:
    ball = _it(parent)
    if ball is None or footage.size is None or not footage.balls[ball].seen(footage.last):
        return None
    found = place(footage, ball, footage.last)
    return Posed(FOLLOW_UP, found, {}, "place") if found else None


def _side(footage: Footage, parent: Posed, rng: np.random.Generator) -> Posed | None:
    ball = _it(parent)
    named = {ball, *parent.slots.values()}
    others = [other for other in footage.balls_seen(footage.last) if other not in named]
    if ball is None or not footage.balls[ball].seen(footage.last):
        return None
    groups = {which: [o for o in others if side(footage, ball, o) == which] for which in ("left", "right")}
    if not all(groups.values()):
        return None
    which = ("left", "right")[int(rng.integers(2))]
    variant = "other_side" if parent.kind == "left_or_right" else "side"
    return Posed(FOLLOW_UP, which, {"b": pick(groups[which], rng)}, variant)


def _pocket(footage: Footage, parent: Posed, rng: np.random.Generator) -> Posed | None:
    drops = [h for h in footage.shown if h.kind == "drop" and h.ball == _it(parent) and h.other is not None]
    return Posed(FOLLOW_UP, drops[0].other, {}, "pocket") if drops else None


def _count(footage: Footage, parent: Posed, rng: np.random.Generator) -> Posed | None:
    if parent.variant == "end":
        return None
    fractions = [track.visible[footage.last] for track in footage.balls.values()]
    if any(0 < fraction < SEEN for fraction in fractions):
        return None
    count = int(sum(fraction > 0 for fraction in fractions))
    if count == parent.answer and rng.random() >= _SAME_SHARE:
        return None
    return Posed(FOLLOW_UP, count, {}, "count")


def _it(parent: Posed) -> str | None:
    """Returns the ball that 'it' means after a question: its answer, or the ball of which it asks; None if neither."""
    if isinstance(parent.answer, str) and parent.answer.startswith("ball:"):
        return parent.answer
    return parent.slots.get("a") if parent.answer is not False else None


_AFTER: dict[str, tuple[Callable[[Footage, Posed, np.random.Generator], Posed | None], ...]] = {
    "count": (_count,),
    "first_hit": (_next_hit, _place, _side),
    "potted": (_pocket,),
    "potted_ball": (_pocket,),
    "left_or_right": (_side, _place),
    "nearest": (_place, _side),
    "in_view": (_place, _side),
}
