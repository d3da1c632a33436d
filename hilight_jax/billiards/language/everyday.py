"""Questions of somebody who has not seen the clip: without a moment, and of things that may not happen in it.

The questions of `questions` and `pairs` presuppose: a ball is asked for its pocket only where it falls into one. People
ask before they know. So some clips in which nothing is potted are asked whether a ball is, and into which pocket; some
balls that touch no cushion are asked for theirs; balls are counted at the start, at the end, or over the whole clip.
They also ask plain things: which balls there are, which of them move, what colour the cloth has.
"""

import numpy as np

from hilight_jax.billiards.language import pairs, places, questions
from hilight_jax.billiards.language.answers import NO_BALL, NO_CUSHION, NOT_IN_VIEW, NOT_POTTED
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import SEEN, Footage, Happening, Namer, Track, ball_object
from hilight_jax.billiards.language.posed import Posed
from hilight_jax.billiards.language.telling import BALLS

_CUE = "ball:cue"
# Shares of the draws, of which `rich_questions` makes one or two a clip for each kind.
_AT_A_MOMENT = 1 / 3  # Questions for a ball in view that ask for the start or the end.
_QUIET = 0.12  # Clips without a drop that are asked about one.
_SPARED_POCKET = 0.1  # Questions for a pocket that are about a ball which falls into none.
_ANY_BALL = 0.07  # Questions whether a ball is potted, where one is, that name no ball.
_POTTED = 0.6  # Of the others, those that name a potted one; with the quiet clips, half of all answers are yes.
_NO_TOUCH = 0.06  # Clips that are asked for the cushion of a ball which touches none.
_CUE_TOO = 0.2  # Of these, where no other ball is free, those that ask about the cue ball.
_SPARED_CUE = 0.1  # Clips in which the cue ball is among the balls that may be asked about and are not potted.
_ABSENT_CUE = 0.2  # Clips without the cue ball that are asked where it is.
_CLOTH = 0.3  # Clips that are asked for the colour of the cloth.
_STILL = 0.1  # Radii that a ball at rest may move in the picture.


def count(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Counts the balls in view at the start, at the end, or over the whole clip; no ball may be seen by less than half.

    A question without a moment ('plain') is asked only where every frame shows the same balls.
    """
    frames = list(range(len(footage.times)))
    variant = pick(("", "end", "any", "plain"), rng)
    looked_at = {"": [0], "end": [footage.last]}.get(variant, frames)
    shown = np.array([track.visible[looked_at] for track in footage.balls.values()])  # [balls, frames]
    most, least = shown.max(1), shown.min(1)
    if ((most > 0) & (most < SEEN)).any() or (variant == "plain" and ((most > 0) & (least < SEEN)).any()):
        return None
    return Posed("count", int((most > 0).sum()), {}, variant)


def balls(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks which balls are in view, over the whole clip ('any') where the frames do not all show the same ones.

    The answer names the cue ball first, the others by number.
    """
    visible = np.array([track.visible for track in footage.balls.values()])  # [balls, frames]
    most, least = visible.max(1), visible.min(1)
    if ((most > 0) & (most < SEEN)).any() or not (most > 0).any():
        return None
    seen = [ball for ball in (_CUE, *map(ball_object, name.pool)) if ball in footage.balls_seen()]
    *others, last = map(name, seen)
    words = f"{', '.join(others)} and {last}" if others else last
    return Posed(BALLS, words, {}, "any" if ((most > 0) & (least < SEEN)).any() else "")


def in_view(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks if a ball is in view at any time, or if an object ball is at the start or at the end."""
    if rng.random() >= _AT_A_MOMENT:
        return pairs.in_view(footage, name, rng)
    when, frame = ("end", footage.last) if rng.integers(2) else ("start", 0)
    glimpsed = {ball for ball, track in footage.balls.items() if track.visible[frame] > 0}
    known = {*footage.balls, *map(ball_object, name.pool)} - {_CUE}
    once_seen = [ball for ball in footage.balls_seen() if ball in known - glimpsed]
    absent = once_seen if once_seen and rng.integers(2) else sorted(known - glimpsed)
    seen = [ball for ball in footage.balls_seen(frame) if ball != _CUE]
    if not seen or not absent:
        return None
    yes = bool(rng.integers(2))
    return Posed("in_view", yes, {"a": pick(seen if yes else absent, rng)}, when)


def potted(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks if a ball is potted, or if any is; in some clips nothing is."""
    gone, stay = _potted_and_spared(footage, rng)
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
    stay = _potted_and_spared(footage, rng)[1]
    share = _SPARED_POCKET if _drops(footage) else _SPARED_POCKET * _QUIET
    if stay and footage.has_place("pocket") and rng.random() < share:
        return Posed("pocket", NOT_POTTED, {"a": pick(stay, rng)})
    return questions.TYPES["pocket"](footage, name, rng)


def cushion(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks which cushion a ball touches, sometimes of one that rolls and touches none."""
    touched = {h.ball for h in footage.happenings if h.kind == "rebound"} | footage.jaw_touches
    free = [ball for ball in _watched(footage) if ball not in touched and _rolls(footage.balls[ball])]
    others = [ball for ball in free if ball != _CUE] or (free if rng.random() < _CUE_TOO else [])
    if others and footage.has_place("cushion") and rng.random() < _NO_TOUCH:
        return Posed("cushion", NO_CUSHION, {"a": pick(others, rng)})
    return questions.TYPES["cushion"](footage, name, rng)


def where(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks where a ball is, the missing cue ball too; of half of those that have come to rest, where they end up."""
    when, frame = ("end", footage.last) if rng.integers(2) else ("start", 0)
    if (_CUE not in footage.balls or not footage.balls[_CUE].visible[frame] > 0) and rng.random() < _ABSENT_CUE:
        return Posed("where", NOT_IN_VIEW, {"a": _CUE}, when)
    posed = places.where(footage, name, rng)
    if posed is None or posed.variant != "end" or posed.answer == NOT_IN_VIEW:
        return posed
    track = footage.balls[posed.slots["a"]]
    last_step = np.hypot(*(axis[-1] - axis[-2] for axis in (track.x, track.y))) if footage.last else 0.0
    rests = last_step < _STILL * track.radius[-1]
    return posed._replace(variant="to") if rests and _rolls(track) and rng.integers(2) else posed


def moves(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks if an object ball moves, where one rolls by more than its radius and another one lies still.

    The cue ball nearly always moves: its name would be the answer.
    """
    watched = {ball: footage.balls[ball] for ball in _watched(footage) if ball != _CUE}
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


def _potted_and_spared(footage: Footage, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """As `questions.potted_and_spared`, the cue ball seldom among the spared: as it is seldom potted, it is a hint."""
    gone, stay = questions.potted_and_spared(footage)
    return gone, stay if rng.random() < _SPARED_CUE else [ball for ball in stay if ball != _CUE]


def _watched(footage: Footage) -> list[str]:
    """Returns the balls that are in view in every frame."""
    return [ball for ball, track in footage.balls.items() if all(track.visible >= SEEN)]


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
