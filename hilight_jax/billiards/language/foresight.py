"""Questions about what no frame shows: which ball is hit next, what would happen if; the truth is in the `Outlook`.

They are asked where the last frame (of `next`) or the first one (of `what_if`) shows all that they are about. A
question with two answers has its answer drawn by a coin, as in `questions`. One frame does not give the answer away,
but allows a guess: the ball nearest to the cue ball is often the one that is hit, and a ball near a pocket may drop.
`evals/video_qa` asks these kinds again with the first frame in the place of all others, which measures that guess.
"""

from collections.abc import Iterable

import numpy as np

from hilight_jax.billiards.language.answers import NO_BALL
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import Footage, Namer
from hilight_jax.billiards.language.outlook import Alternative, Coming
from hilight_jax.billiards.language.posed import Posed

_CUE = "ball:cue"
_STILL = 0.002  # Metres that a ball at rest may move between two frames.
_UNCHANGED_SHARE = 0.3  # Share of the changed shots that hit the same ball first which get the question.
_NEAR = 4.2  # Radii from a pocket within which a ball may be asked about that will not be potted.
_SPARED_SHARE = 0.1  # Share of the clips with a ball to be potted that are asked about another one.
_NOTHING_SHARE = 0.3  # Share of those in which the cue ball hits none.


def next_hit(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks which ball is hit next; the coming hit is its ball's next event of all, on a ball that lies in view."""
    events = footage.outlook.next or ()
    hit = next((event for event in events if event.kind == "strike"), None)
    if hit is None or not (footage.balls[hit.ball].seen(footage.last) and footage.balls[hit.other].seen(footage.last)):
        return None
    first_of_ball = next(event for event in events if hit.ball in (event.ball, event.other))
    if first_of_ball is not hit or not _lies_still(footage, hit.other):
        return None
    return Posed("next", hit.other, {"a": hit.ball})


def next_potted(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks of a ball near a pocket whether it will be potted: of one that will, or of the nearest one that will not.

    Where a ball will be potted it is the nearest nearly always. So the answer is no mostly in clips in which none will,
    as something rolls; `_NEAR` and `_SPARED_SHARE` make both answers equally frequent in demo-v2.
    """
    seen = footage.balls_seen(footage.last)
    distances = {ball: _distance_to_pocket(footage, ball) for ball in seen}
    if footage.outlook.next is None or not seen or min(distances.values()) == np.inf:
        return None
    gone = sorted(_potted(footage.outlook.next) & set(seen))
    stay = sorted((ball for ball in seen if ball not in gone and ball != _CUE), key=distances.__getitem__)
    if gone and (not stay or rng.random() >= _SPARED_SHARE):
        return Posed("next_potted", True, {"a": pick(gone, rng)})
    if not gone and (not stay or distances[stay[0]] > _NEAR or all(_lies_still(footage, ball) for ball in seen)):
        return None
    return Posed("next_potted", False, {"a": stay[0]})


def what_if(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks which ball would be hit first without a ball; more often where this changes the answer."""
    actual, asked = _first_hit(_events(footage)), []
    in_view = footage.balls_seen(0)
    for changed in _alternatives(footage, "without"):
        first = _first_hit(changed.events)
        if changed.ball not in in_view or _CUE not in in_view or not (first is None or first in in_view):
            continue
        share = _NOTHING_SHARE if first is None else _UNCHANGED_SHARE if first == actual else 1.0
        if rng.random() < share:
            asked.append(Posed("what_if", first or NO_BALL, {"a": changed.ball}))
    return pick(asked, rng) if asked else None


def what_if_potted(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks of a ball whether it would be potted after a harder shot or without another ball."""
    asked, in_view = [], footage.balls_seen(0)
    for changed in _alternatives(footage, "harder", "without"):
        if changed.ball is not None and changed.ball not in in_view:
            continue
        slots = {} if changed.ball is None else {"a": changed.ball}
        others = [ball for ball in in_view if ball != changed.ball]
        posed = Posed("what_if_potted", True, slots, changed.change)
        if found := _either(posed, _potted(changed.events), others, rng, "b"):
            asked.append(found)
    return pick(asked, rng) if asked else None


def _either(posed: Posed, true: set[str], balls: list[str], rng: np.random.Generator, slot: str = "a") -> Posed | None:
    """Completes a question with a ball of which it is true or not, by a coin; None where only one is possible."""
    groups = [[ball for ball in balls if ball not in true], [ball for ball in balls if ball in true]]
    if not all(groups):
        return None
    yes = bool(rng.integers(2))
    return posed._replace(answer=yes, slots={**posed.slots, slot: pick(groups[yes], rng)})


def _alternatives(footage: Footage, *changes: str) -> list[Alternative]:
    return [changed for changed in footage.outlook.alternatives or () if changed.change in changes]


def _events(footage: Footage) -> list[Coming]:
    shown = [Coming(happening.kind, happening.ball, happening.other) for happening in footage.happenings]
    return [*shown, *(footage.outlook.next or ())]


def _first_hit(events: Iterable[Coming]) -> str | None:
    """Returns the ball that the cue ball hits first."""
    return next((event.other for event in events if event.kind == "strike" and event.ball == _CUE), None)


def _potted(events: Iterable[Coming]) -> set[str]:
    return {event.ball for event in events if event.kind == "drop"}


def _distance_to_pocket(footage: Footage, ball: str) -> float:
    """Returns the distance of a ball from the nearest pocket in the picture, in its radii; inf without a pocket."""
    track, last = footage.balls[ball], footage.last
    pockets = [place for name, place in footage.places.items() if name.startswith("pocket:")]
    gaps = [np.hypot(place.x[last] - track.x[last], place.y[last] - track.y[last]) for place in pockets]
    return float(min(gaps, default=np.inf) / track.radius[last])


def _lies_still(footage: Footage, ball: str) -> bool:
    last = footage.positions[ball][-2:]
    return bool(np.hypot(*(last[-1] - last[0])) <= _STILL)
