"""Questions that the sampled frames of a clip answer, in one wording each.

A question with two possible answers is used only where either could be right, and a coin decides which one is: a model
that ignores the clip is right half of the time. Where most clips have the same count ('None.'), only a share of them
gets the question.
"""

import collections
import itertools
from collections.abc import Callable

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import SEEN, Footage, Happening, Namer, ball_object
from hilight_jax.billiards.language.posed import Posed, short_answer

PLAIN = {
    "count": "How many balls are in view at the start?",
    "first_hit": "Which ball does the cue ball hit first?",
    "hit": "Does the cue ball hit {a}?",
    "order": "Does {p} before {qs}?",
    "count_potted": "How many balls are potted?",
    "potted": "Is {a} potted?",
    "pocket": "Into which pocket does {a} fall?",
    "cushion": "Which cushion does {a} touch?",
    "cushions": "How many times does the cue ball touch a cushion?",
    "left_or_right": "At the end, is {a} left or right of {b}?",
    "nearest": "Which ball is nearest to the cue ball at the end?",
    "in_view": "Is {a} in view?",
}
_QUIET_POTTED, _QUIET_CUSHIONS = 0.3, 0.2  # Shares of the clips with a count of none that get the question.
_VERBS = {"strike": "hit{}", "rebound": "bounce{} off", "drop": "fall{} into", "hang": "stop{} in the jaws of"}


def questions(footage: Footage, name: Namer, rng: np.random.Generator) -> list[dict]:
    """Writes every kind of question that the sampled frames of a clip answer, each at most once.

    Returns:
      Dicts of 'question', 'answer' and 'type' (a key of `TYPES`), in the order of `TYPES`.
    """
    asked = []
    for ask in TYPES.values():
        posed = ask(footage, name, rng)
        if posed is not None:
            asked.append(
                {
                    "question": plain_question(posed, name),
                    "answer": short_answer(posed.answer, name),
                    "type": posed.kind,
                }
            )
    return asked


def plain_question(posed: Posed, name: Namer) -> str:
    """Returns the one wording of a question in `PLAIN`."""
    words = {slot: name(value) if ":" in value else value for slot, value in posed.slots.items()}
    return PLAIN[posed.key].format(**words)


def first_strike(footage: Footage) -> Happening | None:
    """Returns the cue ball's first strike, if the frames show it and no second one precedes the next frame."""
    strikes = [h for h in footage.happenings if h.kind == "strike" and "ball:cue" in (h.ball, h.other)]
    if not strikes or not strikes[0].shown or strikes[0].ball != "ball:cue":
        return None
    alone = all(h.frame > strikes[0].frame for h in strikes[1:])
    return strikes[0] if alone else None


def _struck_by_cue(footage: Footage) -> set[str]:
    """Returns all balls that meet the cue ball, shown or not."""
    strikes = [h for h in footage.happenings if h.kind == "strike"]
    return {h.other for h in strikes if h.ball == "ball:cue"} | {h.ball for h in strikes if h.other == "ball:cue"}


def potted_and_spared(footage: Footage) -> tuple[list[str], list[str]]:
    """Returns the balls whose drop is shown, and those in view at the start and at the end."""
    gone = [h.ball for h in footage.shown if h.kind == "drop"]
    return gone, [ball for ball in footage.balls_seen(0) if footage.balls[ball].seen(footage.last)]


def spared_by_cue(footage: Footage) -> list[str]:
    """Returns the balls in view at the start that never meet the cue ball."""
    met = _struck_by_cue(footage)
    return [ball for ball in footage.balls_seen(0) if ball not in met and ball != "ball:cue"]


def cushion_touches(footage: Footage) -> int | None:
    """Counts the cue ball's touches of cushions; None unless every one is shown and none is of a pocket's jaws."""
    touches = [h for h in footage.happenings if h.kind == "rebound" and h.ball == "ball:cue"]
    watched = all(footage.balls["ball:cue"].visible >= SEEN) and footage.has_place("cushion")
    if not watched or "ball:cue" in footage.jaw_touches or not all(h.shown for h in touches):
        return None
    return len(touches)


def seen_and_absent(footage: Footage, name: Namer) -> tuple[list[str], list[str]]:
    """Returns the object balls in view in some frame, and those of this world that are partly visible in none."""
    glimpsed = {ball for ball, track in footage.balls.items() if track.visible.max() > 0}
    absent = [ball for ball in map(ball_object, name.pool) if ball not in glimpsed]
    return [ball for ball in footage.balls_seen() if ball != "ball:cue"], absent


def _count(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    fractions = [track.visible[0] for track in footage.balls.values()]
    if any(0 < fraction < SEEN for fraction in fractions):
        return None  # Half a ball at the border: neither answer would be wrong.
    count = sum(fraction > 0 for fraction in fractions)
    return Posed("count", int(count))


def _first_hit(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    first = first_strike(footage)
    return Posed("first_hit", first.other) if first else None


def _hit(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    first, spared = first_strike(footage), spared_by_cue(footage)
    if first is None or not spared:
        return None
    yes = _coin(rng)
    return Posed("hit", yes, {"a": first.other if yes else pick(spared, rng)})


def _order(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks for the order of two events that occur once each, in different gaps between frames."""
    times_told = collections.Counter(map(_matter, footage.happenings))
    shown = [h for h in footage.shown if h.other is not None and times_told[_matter(h)] == 1]
    pairs = [(a, b) for a, b in zip(shown, shown[1:], strict=False) if a.frame < b.frame and a.ball != b.ball]
    if not pairs:
        return None
    first, second = pick(pairs, rng)
    yes = _coin(rng)
    early, late = (first, second) if yes else (second, first)
    slots = {"p": _clause(early, name, ""), "ps": _clause(early, name, "s")}
    return Posed("order", yes, slots | {"q": _clause(late, name, ""), "qs": _clause(late, name, "s")})


def _count_potted(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    drops = [h for h in footage.happenings if h.kind == "drop"]
    all_seen = footage.nothing_hidden(0) and footage.nothing_hidden(footage.last)
    if not all_seen or not footage.has_place("pocket") or not all(h.shown for h in drops):
        return None
    if not drops and rng.random() >= _QUIET_POTTED:
        return None
    return Posed("count_potted", len(drops))


def _potted(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    gone, stay = potted_and_spared(footage)
    if not gone or not stay:
        return None
    yes = _coin(rng)
    return Posed("potted", yes, {"a": pick(gone if yes else stay, rng)})


def _pocket(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    drops = [h for h in footage.shown if h.kind == "drop" and h.other is not None]
    if not drops:
        return None
    drop = pick(drops, rng)
    return Posed("pocket", drop.other, {"a": drop.ball})


def _cushion(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    rebounds = [h for h in footage.shown if h.kind == "rebound" and h.other is not None]
    once = [h for h in rebounds if sum(o.ball == h.ball and o.kind == "rebound" for o in footage.happenings) == 1]
    once = [h for h in once if h.ball not in footage.jaw_touches]
    if not once:
        return None
    rebound = pick(once, rng)
    return Posed("cushion", rebound.other, {"a": rebound.ball})


def _cushions(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    touches = cushion_touches(footage)
    if touches is None or (not touches and rng.random() >= _QUIET_CUSHIONS):
        return None
    return Posed("cushions", touches)


def _left_or_right(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    frame = footage.last
    seen = footage.balls_seen(frame)
    pairs = [(a, b) for a, b in itertools.combinations(seen, 2) if _gap_is_clear(footage, a, b)]
    if not pairs:
        return None
    ball, other = pick(pairs, rng)
    ball, other = (ball, other) if _coin(rng) else (other, ball)
    side = "left" if _gap(footage, ball, other) > 0 else "right"
    return Posed("left_or_right", side, {"a": ball, "b": other})


def _nearest(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks for the nearest ball on the cloth, by a margin of a third; all balls must be in view."""
    frame = footage.last
    seen = [ball for ball in footage.balls_seen(frame) if ball != "ball:cue"]
    if len(seen) < 2 or not footage.balls["ball:cue"].seen(frame) or not footage.nothing_hidden(frame):
        return None
    cue = footage.positions["ball:cue"][frame]
    distances = [float(np.hypot(*(footage.positions[ball][frame] - cue))) for ball in seen]
    nearest, second = np.argsort(distances)[:2]
    if distances[second] < 1.33 * distances[nearest]:
        return None
    return Posed("nearest", seen[nearest])


def _in_view(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    clear, absent = seen_and_absent(footage, name)
    if not clear or not absent:
        return None
    yes = _coin(rng)
    return Posed("in_view", yes, {"a": pick(clear if yes else absent, rng)})


TYPES: dict[str, Callable[[Footage, Namer, np.random.Generator], Posed | None]] = {
    "count": _count,
    "first_hit": _first_hit,
    "hit": _hit,
    "order": _order,
    "count_potted": _count_potted,
    "potted": _potted,
    "pocket": _pocket,
    "cushion": _cushion,
    "cushions": _cushions,
    "left_or_right": _left_or_right,
    "nearest": _nearest,
    "in_view": _in_view,
}


def _matter(happening: Happening) -> tuple[str, frozenset]:
    """Returns the kind and the objects of an event; words cannot tell two events with the same ones apart."""
    return happening.kind, frozenset((happening.ball, happening.other))


def _clause(happening: Happening, name: Namer, ending: str) -> str:
    return f"{name(happening.ball)} {_VERBS[happening.kind].format(ending)} {name(happening.other)}"


def _gap(footage: Footage, ball: str, other: str) -> float:
    """Returns the columns from one ball to another in the last frame."""
    return float(footage.balls[other].x[footage.last] - footage.balls[ball].x[footage.last])


def _gap_is_clear(footage: Footage, ball: str, other: str) -> bool:
    return abs(_gap(footage, ball, other)) > 2 * footage.balls[ball].radius[footage.last]


def _coin(rng: np.random.Generator) -> bool:
    return bool(rng.integers(2))
