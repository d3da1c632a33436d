"""Looks ahead: the events of a shot after its last frame, and of the same shot with one change.

The truth comes from the physics. A pool shot can hang on a hair, which no picture shows; so the outcome of a changed
shot counts only if it stays the same when the strike is turned a little to either side.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from hilight_jax.billiards.filming import KINDS
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import Footage, ball_object
from hilight_jax.billiards.language.outlook import Alternative, Coming, Outlook
from hilight_jax.billiards.physics.simulation import Strike, simulate
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.physics.trajectory import Event, Shot
from hilight_jax.billiards.placing import Setup

_HARDER = 1.6  # times the speed
# Shares of the shots that are changed: without a ball, that ball being the one met first, and struck harder as well.
_WITHOUT, _WITHOUT_MET, _HARDER_TOO = 0.8, 0.7, 0.3
_TURN = 0.008  # radians; half a degree


def outlook(
    setup: Setup,
    shot: Shot,
    end: float,
    footage: Footage,
    names: Mapping[str, str],
    table: Table,
    rng: np.random.Generator,
) -> Outlook:
    """Returns the look ahead from a clip's last frame.

    Args:
      setup: the shot before it is played.
      shot: the shot, played until all balls lie still.
      end: time of the last frame on the shot's clock, seconds.
      footage: what the frames show.
      names: object names of cushions and pockets, by the table's own names.
      table: the table.
      rng: chooses a ball to take away.
    """
    coming = _coming((event for event in shot.events if event.time > end), names)
    is_struck = setup.ball_ids[setup.strike.ball] == "cue" and end - footage.times[-1] <= 0
    return Outlook(coming, _alternatives(setup, shot, footage, names, table, rng) if is_struck else ())


def is_settled(setup: Setup, shot: Shot, table: Table) -> bool:
    """Returns True if a strike turned a little leads to the same first contact and the same potted balls."""
    expected = _outcome(shot)
    turned = (dataclasses.replace(setup.strike, angle=setup.strike.angle + turn) for turn in (-_TURN, _TURN))
    return all(_outcome(_played(setup, strike, setup.potted, table)) == expected for strike in turned)


def _alternatives(
    setup: Setup, shot: Shot, footage: Footage, names: Mapping[str, str], table: Table, rng: np.random.Generator
) -> tuple[Alternative, ...]:
    """Returns the shot without one ball in view, mostly the one that is met first, or struck harder, or both."""
    in_view = [name.partition(":")[2] for name in footage.balls_seen(0) if name != "ball:cue"]
    met = next((event.balls[1] for event in shot.events if event.kind == "ball_ball"), None)
    changes = []
    if in_view and rng.random() < _WITHOUT:
        ball = met if met in in_view and rng.random() < _WITHOUT_MET else pick(in_view, rng)
        changes.append(("without", ball, dataclasses.replace(setup, potted=(*setup.potted, ball))))
    if not changes or rng.random() < _HARDER_TOO:
        harder = dataclasses.replace(setup.strike, speed=_HARDER * setup.strike.speed)
        changes.append(("harder", None, dataclasses.replace(setup, strike=harder)))
    found = []
    for change, ball, changed in changes:
        other = _played(changed, changed.strike, changed.potted, table)
        if is_settled(changed, other, table):
            found.append(Alternative(change, ball and ball_object(ball), _coming(other.events, names)))
    return tuple(found)


def _played(setup: Setup, strike: Strike, potted: tuple[str, ...], table: Table) -> Shot:
    return simulate(table, setup.ball_ids, setup.positions, strike, potted=potted)


def _outcome(shot: Shot) -> tuple:
    """Returns the first contact of two balls or with a cushion, and the balls that fall."""
    first = next(((event.balls, event.place) for event in shot.events if event.kind in ("ball_ball", "cushion")), None)
    return first, frozenset(event.balls for event in shot.events if event.kind == "pocket")


def _coming(events: Iterable[Event], names: Mapping[str, str]) -> tuple[Coming, ...]:
    return tuple(_as_coming(event, names) for event in events if event.kind in KINDS and event.place != "jaw")


def _as_coming(event: Event, names: Mapping[str, str]) -> Coming:
    kind, ball = KINDS[event.kind], ball_object(event.balls[0])
    return Coming(kind, ball, ball_object(event.balls[1]) if kind == "strike" else names.get(event.place))
