"""Cuts a film into pieces: the shots of billiards, or windows of one length."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from hilight_jax.core.errors import UserError
from hilight_jax.data.films.shots import find_shots
from hilight_jax.data.video import Video

LONG_SECONDS = 20.0  # A longer video is a film: a model's few frames of all of it would be seconds apart.
SHOTS = "shots"
WINDOW = "window"
_ROUNDING = 1e-6  # Seconds: times are multiples of fractions that a binary number does not hold.


class Piece(NamedTuple):
    """A piece of a film; all times are seconds from its first shown frame.

    Attributes:
      start: Its beginning.
      end: Its end, which belongs to the next piece.
      stroke: Time at which the cue ball is struck; None where that is unknown.
      kind: ``stroke``, ``replay``, ``interlude`` or ``window``.
    """

    start: float
    end: float
    stroke: float | None
    kind: str


def parse_rule(windows: str | None) -> str:
    """Returns the rule of ``--windows SECONDS[,STRIDE]``, ``shots`` without one.

    Raises:
      UserError: A length is no positive number, the stride would leave gaps.
    """
    if windows is None:
        return SHOTS
    try:
        length, stride = ([float(part) for part in windows.split(",")] * 2)[:2] if windows.count(",") < 2 else (0, 0)
    except ValueError:
        length = stride = 0.0
    if not (0 < stride <= length and math.isfinite(length)):
        raise UserError(
            f"--windows is '{windows}', but must be SECONDS or SECONDS,STRIDE, above 0 and the stride at most the "
            "length, such as 5 or 5,2.5."
        )
    return f"windows {length:g},{stride:g}"


def pieces(
    video: Video,
    rule: str,
    times: Float[np.ndarray, " n"],
    end: float,
    report: Callable[[float], None] = lambda share: None,
) -> Iterator[Piece]:
    """Yields the pieces of a film, in the order of their beginnings.

    Args:
      video: The film.
      rule: Of ``parse_rule``.
      times: Seconds from the first shown frame to each, never falling.
      end: Seconds to the end of the last.
      report: Called now and then while shots are found.
    """
    if rule == SHOTS:
        yield from (Piece(*shot) for shot in find_shots(video, report=lambda *_: report(0.0)))
        return
    length, stride = map(float, rule.split()[1].split(","))
    number, covered = 0, 0.0
    while covered < end:
        start = number * stride
        # The next window that holds a frame: a film may have gaps of hours.
        following = frames_before(times, start)
        if following == len(times):
            return
        if times[following] >= start + length:
            number = max(number + 1, math.floor((times[following] - length) / stride) + 1)
            continue
        covered = min(start + length, end)
        yield Piece(start, covered, None, WINDOW)
        number += 1


def frames_before(times: Float[np.ndarray, " n"], seconds: Any) -> Any:
    """Counts the frames before a time, or before each of several; a frame within a microsecond of it is not before."""
    return np.searchsorted(times, np.asarray(seconds) - _ROUNDING)
