"""Statements that hold or do not hold of a clip, for questions that compare two clips.

A clause completes "In which of the two clips ...?". Only such statements are made whose truth the sampled frames show,
by the same rules as for ``questions``; nothing is drawn at random.
"""

from hilight_jax.billiards.language.footage import SEEN, Footage
from hilight_jax.billiards.language.names import ball_object
from hilight_jax.billiards.language.questions import Namer, first_strike, potted_and_spared, struck_by_cue


def clauses(footage: Footage, name: Namer) -> dict[str, bool]:
    """Says what holds of a clip and what does not.

    Args:
      footage: what the sampled frames show.
      name: what things are called.

    Returns:
      Clauses, such as 'is the yellow ball in view' or 'does the cue ball hit the red ball', and whether they hold; of
      what the frames leave open there is none.
    """
    return {**_in_view(footage, name), **_hit(footage, name), **_potted(footage, name), **_touch(footage)}


def _in_view(footage: Footage, name: Namer) -> dict[str, bool]:
    """A ball is in view in some frame or, of all that this world may show, glimpsed in none."""
    seen = {ball for ball in footage.balls_seen() if ball != "ball:cue"}
    glimpsed = {ball for ball, track in footage.balls.items() if track.visible.max() > 0}
    pool = [ball_object(ball_id) for ball_id in name.pool]
    return {f"is {name(ball)} in view": ball in seen for ball in pool if ball in seen or ball not in glimpsed}


def _hit(footage: Footage, name: Namer) -> dict[str, bool]:
    """The ball that is hit first, by a strike that is shown, and those in view at the start that are never hit."""
    first = first_strike(footage)
    if first is None:
        return {}
    met = struck_by_cue(footage)
    spared = [ball for ball in footage.balls_seen(0) if ball not in met and ball != "ball:cue"]
    return {f"does the cue ball hit {name(ball)}": ball == first.other for ball in (first.other, *spared)}


def _potted(footage: Footage, name: Namer) -> dict[str, bool]:
    gone, stay = potted_and_spared(footage)
    return {f"is {name(ball)} potted": ball in gone for ball in (*gone, *stay)}


def _touch(footage: Footage) -> dict[str, bool]:
    """Whether the cue ball touches a cushion: it is watched all the time, and every touch is shown."""
    touches = [h for h in footage.happenings if h.kind == "rebound" and h.ball == "ball:cue"]
    watched = all(footage.balls["ball:cue"].visible >= SEEN) and footage.has_place("cushion")
    if not watched or "ball:cue" in footage.jaw_touches or not all(h.shown for h in touches):
        return {}
    return {"does the cue ball touch a cushion": bool(touches)}
