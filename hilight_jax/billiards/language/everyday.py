"""Questions of somebody who has not seen the clip: without a moment, and of things that may not happen in it.

The questions of `questions` and `pairs` presuppose: a ball is asked for its pocket only where it falls into one. People
ask before they know. So some clips in which nothing is potted are asked whether a ball is, and into which pocket; some
balls that touch no cushion are asked for theirs; balls are counted at the start, at the end, or over the whole clip.
They also ask plain things: which balls there are, which of them move, what colour the cloth has.
"""

import numpy as np

from hilight_jax.billiards.language import pairs, questions
from hilight_jax.billiards.language.answers import NO_BALL, NO_CUSHION, NOT_POTTED
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import SEEN, Footage, Happening, Namer, Track, ball_object
from hilight_jax.billiards.language.posed import Posed
from hilight_jax.billiards.language.telling import BALLS

_AT_A_MOMENT = 1 / 3  # Share of the questions for a ball in view that ask for the start or the end.
_QUIET = 0.12  # Share of the clips without a drop that are asked about one.
_SPARED_POCKET = 0.1  # Share of the questions for a pocket that are about a ball which falls into none.
_ANY_BALL = 0.1  # Share of the questions whether a ball is potted, where one is, that are about any ball.
_POTTED = 0.6  # Share of the others that are about one that is: with the clips in which none is, half of all.
_NO_TOUCH = 0.06  # Share of the clips that are asked for the cushion of a ball which touches none.
_STILL = 0.1  # Radii that a ball at rest may move in the picture.
_CLOTH = 0.3  # Share of the clips that are asked for the colour of the cloth.


def count(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Counts the balls in view at the start, at the end, or at any time; no ball may be seen by less than half."""
    moments = {"": [0], "end": [footage.last], "any": range(len(footage.times))}
    variant = pick(tuple(moments), rng)
    most = [track.visible[list(moments[variant])].max() for track in footage.balls.values()]
    if any(0 < fraction < SEEN for fraction in most):
        return None
    return Posed("count", int(sum(fraction > 0 for fraction in most)), {}, variant)


def balls(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks which balls are in view at any time; the answer names the cue ball first, the others by number."""
    if any(0 < track.visible.max() < SEEN for track in footage.balls.values()):
        return None
    seen = [ball for ball in ("ball:cue", *map(ball_object, name.pool)) if ball in footage.balls_seen()]
    if not seen:
        return None
    *others, last = map(name, seen)
    words = f"{', '.join(others)} and {last}" if others else last
    return Posed(BALLS, words)


def in_view(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks if a ball is in view at any time, at the start or at the end."""
    if rng.random() >= _AT_A_MOMENT:
        return pairs.in_view(footage, name, rng)
    when, frame = ("end", footage.last) if rng.integers(2) else ("start", 0)
    glimpsed = {ball for ball, track in footage.balls.items() if track.visible[frame] > 0}
    known = {*footage.balls, *map(ball_object, name.pool)}
    once_seen = [ball for ball in footage.balls_seen() if ball not in glimpsed]
    absent = once_seen if once_seen and rng.integers(2) else sorted(known - glimpsed)
    seen = footage.balls_seen(frame)
    if not seen or not absent:
        return None
    yes = bool(rng.integers(2))
    return Posed("in_view", yes, {"a": pick(seen if yes else absent, rng)}, when)


def potted(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks if a ball is potted, or if any is; in some clips nothing is."""
    gone, stay = questions.potted_and_spared(footage)
    if _drops(footage):
        if _all_drops_shown(footage) and rng.random() < _ANY_BALL:
            return Posed("potted", True, {}, "any")
        yes = rng.random() < _POTTED
        return Posed("potted", yes, {"a": pick(gone if yes else stay, rng)}) if gone and stay else None
    if rng.random() >= _QUIET or not footage.has_place("pocket"):
        return None
    if footage.nothing_hidden(footage.last) and rng.integers(2):
        return Posed("potted", False, {}, "any")
    return Posed("potted", False, {"a": pick(stay, rng)}) if stay else None


def potted_ball(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks which ball is potted, where one is, or in some clips none."""
    if not _all_drops_shown(footage) or len(_drops(footage)) > 1:
        return None
    if _drops(footage):
        return Posed("potted_ball", _drops(footage)[0].ball)
    quiet = footage.has_place("pocket") and footage.nothing_hidden(footage.last)
    return Posed("potted_ball", NO_BALL) if quiet and rng.random() < _QUIET else None


def pocket(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks into which pocket a ball falls, sometimes of one that falls into none."""
    stay = questions.potted_and_spared(footage)[1]
    share = _SPARED_POCKET if _drops(footage) else _SPARED_POCKET * _QUIET
    if stay and footage.has_place("pocket") and rng.random() < share:
        return Posed("pocket", NOT_POTTED, {"a": pick(stay, rng)})
    return questions.TYPES["pocket"](footage, name, rng)


def cushion(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks which cushion a ball touches, sometimes of one that rolls and touches none."""
    touched = {h.ball for h in footage.happenings if h.kind == "rebound"} | footage.jaw_touches
    free = [
        ball
        for ball, track in footage.balls.items()
        if ball not in touched and all(track.visible >= SEEN) and _rolls(track)
    ]
    if free and footage.has_place("cushion") and rng.random() < _NO_TOUCH:
        return Posed("cushion", NO_CUSHION, {"a": pick(free, rng)})
    return questions.TYPES["cushion"](footage, name, rng)


def moves(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks if a ball moves: of one that rolls by more than its radius, or of one that lies still, both in view."""
    watched = {ball: track for ball, track in footage.balls.items() if all(track.visible >= SEEN)}
    rolling = [ball for ball, track in watched.items() if _rolls(track)]
    still = [ball for ball, track in watched.items() if _way(track) < _STILL]
    if not rolling or not still:
        return None
    yes = bool(rng.integers(2))
    return Posed("moves", yes, {"a": pick(rolling if yes else still, rng)})


def cloth(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks, of a share of the clips, for the colour of the cloth."""
    if footage.cloth is None or rng.random() >= _CLOTH:
        return None
    return Posed("cloth", footage.cloth)


def _drops(footage: Footage) -> list[Happening]:
    return [h for h in footage.happenings if h.kind == "drop"]


def _all_drops_shown(footage: Footage) -> bool:
    return all(h.shown for h in _drops(footage))


def _rolls(track: Track) -> bool:
    """Returns True if a ball moves by more than its radius."""
    return _way(track) > 1


def _way(track: Track) -> float:
    """Returns how far a ball gets from its first place, in its radii."""
    return float(np.hypot(track.x - track.x[0], track.y - track.y[0]).max() / track.radius[0])
