"""Questions to confirm about two balls, left of or hit by each other, and about the cue ball in view."""

import itertools

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import Footage, Namer
from hilight_jax.billiards.language.posed import Posed
from hilight_jax.billiards.language.questions import TYPES

_CUE = "ball:cue"
# Shares of the clips without and with the cue ball that are asked for it: in a world of which a quarter lacks it, yes
# and no are equally frequent.
_ABSENT_CUE_SHARE, _PRESENT_CUE_SHARE = 0.45, 0.15


def side(footage: Footage, ball: str, other: str) -> str | None:
    """Returns 'left' or 'right', the side of another ball on which a ball lies at the end; None where that is close."""
    gap = float(footage.balls[other].x[footage.last] - footage.balls[ball].x[footage.last])
    if abs(gap) <= 2 * footage.balls[ball].radius[footage.last]:
        return None
    return "left" if gap > 0 else "right"


def left_of(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks to confirm that a ball is left of another at the end."""
    pairs = [
        pair for pair in itertools.combinations(footage.balls_seen(footage.last), 2) if side(footage, *pair) is not None
    ]
    if not pairs:
        return None
    pair = pick(pairs, rng)
    left, right = pair if side(footage, *pair) == "left" else pair[::-1]
    yes = bool(rng.integers(2))
    return Posed("left_of", yes, {"a": left, "b": right} if yes else {"a": right, "b": left})


def collide(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks if an object ball hits another one, where the frames show that one does.

    The two of a wrong question never meet, and one of them is of the right pair: it moves in either case.
    """
    strikes = [h for h in footage.happenings if h.kind == "strike"]
    met = {frozenset((h.ball, h.other)) for h in strikes}
    hits = [h for h in strikes if h.shown and _CUE not in (h.ball, h.other)]
    if not hits:
        return None
    hit = pick(hits, rng)
    seen = [ball for ball in footage.balls_seen(0) if ball not in (hit.ball, hit.other, _CUE)]
    wrong = [(hit.ball, ball) for ball in seen if frozenset((hit.ball, ball)) not in met]
    wrong += [(ball, hit.other) for ball in seen if frozenset((ball, hit.other)) not in met]
    if not wrong:
        return None
    yes = bool(rng.integers(2))
    first, second = (hit.ball, hit.other) if yes else pick(wrong, rng)
    return Posed("collide", yes, {"a": first, "b": second})


def in_view(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks if a ball is in view; in worlds where the cue ball may be missing, sometimes the cue ball."""
    cue = footage.balls.get(_CUE)
    is_seen, is_glimpsed = cue is not None and _CUE in footage.balls_seen(), cue is not None and cue.visible.max() > 0
    if is_seen == is_glimpsed and rng.random() < (_PRESENT_CUE_SHARE if is_seen else _ABSENT_CUE_SHARE):
        return Posed("in_view", is_seen, {"a": _CUE})
    return TYPES["in_view"](footage, name, rng)


def first_hit(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks for the first hit where it is the first of all balls, and the cue ball has touched no cushion before it."""
    before = next((h for h in footage.happenings if h.kind == "strike" or h.ball == _CUE), None)
    return (
        TYPES["first_hit"](footage, name, rng) if before and before.ball == _CUE and before.kind == "strike" else None
    )
