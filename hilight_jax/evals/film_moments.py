"""Scores finding a moment: the piece of a film that a text is about, ``evaluate --data matches:DIR``.

A film has a truth beside it, as ``generate --matches`` writes it: times and captions of its strokes. Every caption
asks for its stroke among the pieces of its own film. A piece is right if the stroke is struck within it. Where several
show a stroke, as a window and the next, the best of them counts.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.evals.intervals import mean_interval


class Asked(NamedTuple):
    """A caption of a stroke at a time in seconds."""

    seconds: float
    caption: str


class Ordered(NamedTuple):
    """A piece of a film, in the order in which a text fits them."""

    start: float
    end: float


class MatchesSource:
    """The source ``matches:``, a folder of films with their truths beside them."""

    def __init__(self, path: str, windows: str = ""):
        """Lists the films; ``windows`` cuts them into windows of one length, as ``SECONDS`` or ``SECONDS;STRIDE``.

        Raises:
          DataError: There is no film with a truth, or a truth is damaged.
        """
        self.name, self.windows = f"matches:{path}", windows.replace(";", ",") or None
        truths = sorted(Path(path).glob("*.json")) if Path(path).is_dir() else []
        self.films = [(film, _read(truth)) for truth in truths if (film := truth.with_suffix(".mp4")).is_file()]
        if not self.films:
            raise DataError(
                f"'{path}' holds no film NAME.mp4 with its truth NAME.json; make some with: python -m "
                f"hilight_jax.generate --matches 3 --to {path}"
            )


def evaluate_moments(
    films: Sequence[tuple[Path, Sequence[Asked]]], order: Callable[[Path], Callable[[str], Sequence[Ordered]]]
) -> dict[str, Any]:
    """Asks for every stroke of every film.

    Args:
      films: Films with their captions.
      order: From a film to a function from a text to the film's pieces, the best first.

    Returns:
      ``{'moments': figures}``, ready for JSON: 'films', 'asked', 'pieces' of a film on average, 'R@1' with its 95 %
      'interval' over films, 'R@5', 'chance', the R@1 of a random piece, and 'median_rank', None without a right piece.
    """
    ranks: list[float] = []
    numbers: list[int] = []
    right_shares: list[float] = []
    counts: list[int] = []
    for number, (film, asked) in enumerate(films):
        ordered = order(film)
        for one in asked:
            pieces = ordered(one.caption)
            right = [rank for rank, piece in enumerate(pieces, 1) if piece.start <= one.seconds < piece.end]
            ranks.append(right[0] if right else np.inf)
            right_shares.append(len(right) / len(pieces))
            counts.append(len(pieces))
            numbers.append(number)
    if not ranks:
        raise DataError("the films have no stroke with a caption; make others with: python -m hilight_jax.generate")
    first = np.array([rank == 1 for rank in ranks], float)
    median = float(np.median(ranks))
    figures = {
        "films": len(films),
        "asked": len(ranks),
        "pieces": float(np.mean(counts)),
        "R@1": float(first.mean()),
        "interval": mean_interval(first, np.array(numbers)),
        "R@5": float(np.mean([rank <= 5 for rank in ranks])),
        "chance": float(np.mean(right_shares)),
        "median_rank": median if np.isfinite(median) else None,
    }
    return {"moments": figures}


def moments_table(result: dict[str, Any]) -> str:
    """The figures as text for a terminal."""
    found = result["moments"]
    low, high = found["interval"]
    return (
        f"{result['name']}: {found['asked']} strokes of {found['films']} films, {found['pieces']:.0f} pieces a film\n\n"
        f"moment found        R@1 {found['R@1']:.3f} (95 % {low:.2f}-{high:.2f})  R@5 {found['R@5']:.3f}  "
        f"chance {found['chance']:.3f}  median rank {found['median_rank'] or '-'}\n"
    )


def _read(path: Path) -> list[Asked]:
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
        return [Asked(float(stroke["time"]), str(stroke["caption"])) for stroke in truth["strokes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'the truth \'{path}\' is not of the form {{"strokes": [{{"time": 4.2, "caption": "..."}}]}}; mend it.'
        ) from error
