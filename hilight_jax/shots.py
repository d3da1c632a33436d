"""Finds the strokes of long videos: ``python -m hilight_jax.shots VIDEO [VIDEO ...]``.

python -m hilight_jax.shots match.mp4                                  # a table of pieces with their times
python -m hilight_jax.shots match.mp4 --truth match.json --json        # recall and precision of the strokes
python -m hilight_jax.shots matches/*.mp4 --truth beside               # each film's truth is the .json beside it
"""

import argparse
import pathlib
import sys
import time

from hilight_jax.core import commands
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.core.progress import clock, timestamp
from hilight_jax.data.films.shots import Shot, find_shots
from hilight_jax.evals.strokes import TOLERANCE, StrokeScore, read_truth, score_strokes

_BESIDE = "beside"


def main(argv: list[str] | None = None) -> None:
    """Runs the command with the given arguments, the process's own by default."""
    args = _parser().parse_args(argv)
    if args.truth not in (None, _BESIDE) and len(args.videos) > 1:
        raise UserError(f"--truth {args.truth} is of one film; give one VIDEO, or --truth {_BESIDE} for several.")
    if not args.tolerance > 0:
        raise UserError(f"--tolerance {args.tolerance} matches nothing; give a number of seconds above 0.")
    truths = [_truth(video, args.truth) for video in args.videos]
    results, total = [], StrokeScore(0, 0, 0)
    for video, truth in zip(args.videos, truths, strict=True):
        result = _film(video)
        if truth is not None:
            found = [piece["stroke"] for piece in result["pieces"] if piece["kind"] == "stroke"]
            score = score_strokes([stroke for stroke in found if stroke is not None], truth, args.tolerance)
            result |= {"strokes": score._asdict(), "recall": score.recall, "precision": score.precision}
            total = total.plus(score)
            print(f"{video}: {_sentence(score)}")
        results.append(result)
    summary = {"films": results}
    if args.truth is not None:
        summary |= {"recall": total.recall, "precision": total.precision, "tolerance": args.tolerance}
        if len(results) > 1:
            print(f"{len(results)} films: {_sentence(total)}")
    if args.json:
        commands.print_json(summary)


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("shots", __doc__)
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="films to look through")
    add = parser.add_argument
    add("--truth", metavar="FILE", help="the true strokes, as `generate --matches` writes them; "
        f"'{_BESIDE}': the .json beside each film")  # fmt: skip
    add("--tolerance", type=float, default=TOLERANCE, metavar="SECONDS",
        help=f"largest distance of a found stroke from a true one (default: {TOLERANCE})")  # fmt: skip
    return parser


def _truth(video: str, truth: str | None) -> list[float] | None:
    if truth is None:
        return None
    return read_truth(pathlib.Path(video).with_suffix(".json") if truth == _BESIDE else truth)


def _film(video: str) -> dict:
    """Finds the pieces of a film and prints them as they come."""
    began, faults, pieces = time.monotonic(), [], []
    print(f"{video}\n{'start':>9} {'end':>9} {'stroke':>9}  kind")
    try:
        for shot in find_shots(video, report=_report if sys.stderr.isatty() else None, warn=faults.append):
            pieces.append(_rounded(shot))
            stroke = "" if shot.stroke is None else timestamp(shot.stroke)
            print(f"{timestamp(shot.start):>9} {timestamp(shot.end):>9} {stroke:>9}  {shot.kind}", flush=True)
    except DataError as error:
        raise DataError(f"'{video}': {error}") from error
    for fault in faults:
        print(f"warning: '{video}': {fault}", file=sys.stderr)
    seconds = pieces[-1]["end"] if pieces else 0.0
    counts = {kind: sum(piece["kind"] == kind for piece in pieces) for kind in ("stroke", "replay", "interlude")}
    took = time.monotonic() - began
    kinds = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
    speed = seconds / max(took, 1e-9)
    print(f"{kinds} in {timestamp(seconds)}, found in {took:.1f} s ({speed:.1f} times as fast as the film).")
    return {"video": video, "seconds": seconds, "faults": faults, "pieces": pieces, "took": round(took, 3)}


def _rounded(shot: Shot) -> dict:
    stroke = None if shot.stroke is None else round(shot.stroke, 3)
    return {"start": round(shot.start, 3), "end": round(shot.end, 3), "stroke": stroke, "kind": shot.kind}


def _report(done: float, total: float | None) -> None:
    share = f" of {clock(total)}" if total else ""
    sys.stderr.write(f"\r{clock(done)}{share} ")
    sys.stderr.flush()


def _sentence(score: StrokeScore) -> str:
    recall, precision = (f"{ratio:.3f}" if ratio is not None else "-" for ratio in (score.recall, score.precision))
    return f"{score.num_matched} of {score.num_true} strokes found, recall {recall}, precision {precision}."


if __name__ == "__main__":
    commands.run(main)
