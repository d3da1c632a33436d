"""Footage made by hand: what commentary and questions are tested on."""

import numpy as np

from hilight_jax.billiards.language.footage import Footage, Happening, Track


def track(x, y=30.0, radius=5.0, visible=1.0) -> Track:
    """A track of as many frames as the longest argument has; single numbers hold for all frames."""
    columns = np.broadcast_arrays(*map(np.atleast_1d, (x, y, radius, visible)))
    return Track(*(np.array(values, float) for values in columns))


def footage(balls: dict[str, Track], happenings=(), places=None, on_table=None, jaw_touches=(), **more) -> Footage:
    """Footage of a second; the balls' places on the cloth are their places in the picture; more fields by name."""
    num_frames = len(next(iter(balls.values())).x)
    present = {name: np.ones(num_frames, bool) for name in balls} | (on_table or {})
    return Footage(
        times=np.linspace(0, 1, num_frames),
        balls=balls,
        on_table=present,
        positions={name: np.stack([ball.x, ball.y], -1) for name, ball in balls.items()},
        places=places or {},
        happenings=tuple(happenings),
        jaw_touches=frozenset(jaw_touches),
        **more,
    )


def happening(kind: str, ball: str, other: str | None, frame: int = 0, shown: bool = True) -> Happening:
    """An event between a frame and the next."""
    return Happening(kind, 0.1 + frame, ball, other, frame, shown)
