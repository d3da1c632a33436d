"""Chooses the seconds of a shot that a clip shows, and the shots that are worth showing."""

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import Footage
from hilight_jax.billiards.physics.trajectory import Shot
from hilight_jax.billiards.placing import Setup
from hilight_jax.billiards.worlds import World

UNFINISHED = ("early", "nearly")  # Acts that end before an awaited event.
WITHOUT_CUE_BALL = ("rolling", "rest")

_WAY = 1.0  # Radii that a ball moves at least between the first and the last frame that are to show it rolling.
_SOONEST_END = 0.45  # Seconds after the strike: earlier ends leave too little to see of the way there.


def window(world: World, act: str, shot: Shot, rng: np.random.Generator) -> tuple[float, np.ndarray] | None:
    """Returns the start of the first frame on the shot's clock, and the times [F] of all frames after it, seconds.

    None where the shot does not suit the act (`World.plays`).
    """
    length = rng.uniform(*world.window)
    if act in UNFINISHED:
        awaited = ("pocket",) if act == "nearly" else ("ball_ball", "cushion", "pocket")
        end = next((event.time for event in shot.events if event.kind in awaited), 0.0) - rng.uniform(0.02, 0.1)
        if end < _SOONEST_END:
            return None
        start = -rng.uniform(0, min(world.lead, 0.6 * end))
        length = min(length, end - start)
        start = end - length
    elif act == "rolling":
        start = rng.uniform(0.02, 0.25)
        length = min(length, max(shot.duration - start, 0.5 * world.window[0]))
    elif act == "rest":
        start = -length - 1.0
    elif world.window_at == "strike":
        start = -rng.uniform(0, world.lead) if world.lead else 0.0
        length = min(length, shot.duration - start)
    else:
        moments = [event.time for event in shot.events if event.kind in ("ball_ball", "cushion", "pocket")] or [0.0]
        start = pick(moments, rng) - rng.uniform(0.3, 0.7) * length
        start = max(min(start, shot.duration + 0.3 - length), -world.lead)
    return start, np.linspace(0, length, world.num_frames)


def keeps_the_rules(setup: Setup, shot: Shot) -> bool:
    """Returns False if the cue ball of a nine-ball shot does not first meet the lowest ball on the table."""
    first = next((event.balls for event in shot.events if event.kind == "ball_ball"), ())
    return setup.game != "nine_ball" or setup.target in first


def is_worth_showing(world: World, act: str, footage: Footage) -> bool:
    """Returns True if the frames show what the act is about, with balls of the world's smallest size or more."""
    if any((track.radius[track.visible > 0] < world.smallest_ball).any() for track in footage.balls.values()):
        return False
    if footage.balls_seen() in ([], ["ball:cue"]):
        return False
    cue_ball = footage.balls["ball:cue"]
    if act == "nearly":
        return len(footage.balls_seen(footage.last)) > 1 and cue_ball.seen(0)
    if act == "early":
        waited_for = footage.balls_seen(footage.last)
        return len(waited_for) > 1 and all(cue_ball.seen(frame) for frame in range(len(footage.times)))
    if act in WITHOUT_CUE_BALL:
        return not cue_ball.visible.any() and (act == "rest" or _something_rolls(footage))
    if not footage.shown:
        return False
    if not world.all_in_view:
        return not world.plays or cue_ball.seen(0)
    first = next((h for h in footage.happenings if h.kind == "strike"), None)
    return footage.nothing_hidden(0) and first is not None and first.shown


def _something_rolls(footage: Footage) -> bool:
    """Returns True if an object ball is in view in two frames between which it moves by some radii."""
    for track in footage.balls.values():
        (seen,) = np.nonzero(track.visible >= 0.5)
        if len(seen) > 1:
            way = np.hypot(*(np.ptp(values[seen]) for values in (track.x, track.y)))
            if way > _WAY * track.radius[seen[0]]:
                return True
    return False
