"""Statements that complete "In which of the two clips ...?", and their truth in one clip."""

from hilight_jax.billiards.language.footage import Footage, Namer, ball_object
from hilight_jax.billiards.language.questions import (
    cushion_touches,
    first_strike,
    potted_and_spared,
    seen_and_absent,
    spared_by_cue,
)


def clauses(footage: Footage, name: Namer) -> dict[str, bool]:
    """Returns the statements that complete "In which of the two clips ...?", and their truth.

    They are clauses such as 'is the yellow ball in view' or 'does the cue ball hit the red ball' and follow the rules
    of the questions; nothing is drawn at random. Statements that the frames leave open are left out.
    """
    return {
        **_in_view_clauses(footage, name),
        **_hit_clauses(footage, name),
        **_potted_clauses(footage, name),
        **_touch_clauses(footage),
    }


def _in_view_clauses(footage: Footage, name: Namer) -> dict[str, bool]:
    seen, absent = seen_and_absent(footage, name)
    return {f"is {name(ball)} in view": ball in seen for ball in map(ball_object, name.pool) if ball in seen + absent}


def _hit_clauses(footage: Footage, name: Namer) -> dict[str, bool]:
    """The ball that is hit first, by a strike that is shown, and those in view at the start that are never hit."""
    first = first_strike(footage)
    if first is None:
        return {}
    balls = (first.other, *spared_by_cue(footage))
    return {f"does the cue ball hit {name(ball)}": ball == first.other for ball in balls}


def _potted_clauses(footage: Footage, name: Namer) -> dict[str, bool]:
    gone, stay = potted_and_spared(footage)
    return {f"is {name(ball)} potted": ball in gone for ball in (*gone, *stay)}


def _touch_clauses(footage: Footage) -> dict[str, bool]:
    touches = cushion_touches(footage)
    return {} if touches is None else {"does the cue ball touch a cushion": touches > 0}
