"""Scores the strokes found in a film against the true ones: one to one, within a tolerance in time."""

import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from hilight_jax.core.errors import DataError

TOLERANCE = 0.5  # Seconds.


class StrokeScore(NamedTuple):
    """Counts of one or several films; they add up, and ratios come last.

    Attributes:
      num_found: strokes that were found.
      num_true: strokes that there are.
      num_matched: pairs of a found and a true one.
    """

    num_found: int
    num_true: int
    num_matched: int

    @property
    def recall(self) -> float | None:
        """Share of the true strokes that were found; None where there are none."""
        return self.num_matched / self.num_true if self.num_true else None

    @property
    def precision(self) -> float | None:
        """Share of the found strokes that are true; None where none was found."""
        return self.num_matched / self.num_found if self.num_found else None

    def plus(self, other: "StrokeScore") -> "StrokeScore":
        """Returns the counts of both."""
        return StrokeScore(*(one + two for one, two in zip(self, other, strict=True)))


def match_strokes(found: Sequence[float], true: Sequence[float], tolerance: float = TOLERANCE) -> list[tuple[int, int]]:
    """Pairs found with true times, each at most once, as many as there can be at most ``tolerance`` seconds apart.

    Both are walked in order of time: the earliest two that are near enough are a pair, and of two that are not the
    earlier one stays alone. On a line no other pairing has more pairs.

    Returns:
      Pairs of indices into ``found`` and ``true``.
    """
    left = sorted(range(len(found)), key=lambda k: found[k])
    right = sorted(range(len(true)), key=lambda k: true[k])
    pairs = []
    while left and right:
        ahead = found[left[0]] - true[right[0]]
        if abs(ahead) <= tolerance:
            pairs.append((left.pop(0), right.pop(0)))
        else:
            (left if ahead < 0 else right).pop(0)
    return pairs


def score_strokes(found: Sequence[float], true: Sequence[float], tolerance: float = TOLERANCE) -> StrokeScore:
    """Scores the found times of a film."""
    return StrokeScore(len(found), len(true), len(match_strokes(found, true, tolerance)))


def read_truth(path: str | pathlib.Path) -> list[float]:
    """Reads the times of the strokes from a film's truth, as `generate --matches` writes it: {"strokes": [{"time"}]}.

    Raises:
      DataError: the file is missing or has another form.
    """
    try:
        truth = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        return [float(stroke["time"]) for stroke in truth["strokes"]]
    except OSError as error:
        raise DataError(f"the truth '{path}' cannot be read: {error.strerror}. Correct the path.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'the truth \'{path}\' is not of the form {{"strokes": [{{"time": 4.2}}]}}, times in seconds; mend it.'
        ) from error
