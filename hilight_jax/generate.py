"""Generates billiards clips: a dataset to train on, videos to watch, or films of whole matches to judge with.

python -m hilight_jax.generate --world demo-v2 --data_dir data
python -m hilight_jax.generate --world table-v1 --data_dir data --split train=20000 --split unseen=0 --workers 8
python -m hilight_jax.generate --world table-v1 --format mp4 --count 3 --fps 30 --to clips
python -m hilight_jax.generate --world demo-v3 --matches 20 --minutes 2-20 --to matches
"""

import argparse
import json
import os
import pathlib
import time

from hilight_jax.billiards import dataset
from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.encoding import encode_video
from hilight_jax.billiards.matches import write_match
from hilight_jax.billiards.worlds import SPLITS, WORLDS, World, get_world
from hilight_jax.core import commands
from hilight_jax.core.errors import UserError
from hilight_jax.core.progress import clock


def main(argv: list[str] | None = None) -> None:
    """Runs the command with the given arguments, the process's own by default."""
    args = _parser().parse_args(argv)
    world = get_world(args.world)
    if args.matches is not None:
        result = _write_matches(world, args)
    else:
        result = _write_videos(world, args) if args.format == "mp4" else _write_dataset(world, args)
    if args.json:
        commands.print_json(result)


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("generate", __doc__)
    add, cores = parser.add_argument, len(os.sched_getaffinity(0))
    add("--world", default="demo-v2", help=f"which world: {', '.join(WORLDS)} (default: demo-v2)")
    add("--data_dir", default="data", help="folder of all datasets (default: data)")
    add("--split", action="append", default=[], metavar="NAME=SIZE", help="dataset: clips of a split, repeatable "
        "(default: the world's own sizes)")  # fmt: skip
    add("--workers", type=int, default=cores, help="processes (default: one per usable core)")
    add("--format", choices=("dataset", "mp4"), default="dataset", help="default: dataset")
    add("--count", type=int, default=3, help="mp4: how many clips (default: 3)")
    add("--fps", type=float, default=30.0, help="mp4: frames per second (default: 30)")
    add("--to", metavar="DIR", help="mp4 and matches: folder to write to; must be given")
    add("--of", default="validation", choices=SPLITS, help="mp4: the split whose clips are shown (default: validation)")
    add("--matches", type=int, metavar="COUNT", help="films of whole matches, with their truth beside them")
    add("--minutes", default="2-20", metavar="LOW-HIGH", help="matches: length of a film (default: 2-20)")
    add("--seed", type=int, default=0, help="matches: number of the first film (default: 0)")
    return parser


def _write_dataset(world: World, args: argparse.Namespace) -> dict:
    if args.workers < 1:
        raise UserError(f"--workers {args.workers} makes no clips; give 1 or more processes.")
    built = dataset.build(world, args.data_dir, _sizes(args.split), args.workers)
    rate = built.clips_made / built.seconds if built.clips_made else None
    if rate is None:
        print(f"{built.directory} is complete already.")
        if not built.is_current:
            print("The generator has changed since it was made: delete that folder to make its clips anew.")
    else:
        print(f"{built.directory}: {built.clips_made} clips in {built.seconds:.1f} s ({rate:.1f} clips/s).")
    return {
        "world": world.name,
        "version": world.version,
        "directory": str(built.directory),
        "sizes": built.sizes,
        "clips_made": built.clips_made,
        "seconds": round(built.seconds, 3),
        "clips_per_second": rate and round(rate, 3),
        "workers": args.workers,
        "is_current": built.is_current,
    }


def _write_videos(world: World, args: argparse.Namespace) -> dict:
    if not 1 <= args.fps <= 240 or args.count < 1:
        raise UserError(f"cannot write {args.count} clips at {args.fps} frames/s; give at least 1, at 1 to 240.")
    if not args.to:
        raise UserError("--format mp4 needs --to DIR, the folder to write the videos to.")
    folder, split = pathlib.Path(args.to), args.of
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    files = []
    for number in range(args.count):
        clip = make_clip(world, split, number, fps=args.fps)
        path = folder / f"{world.name}-{split}-{number:06d}.mp4"
        path.write_bytes(encode_video(clip.frames, args.fps, watchable=True))
        path.with_suffix(".json").write_text(json.dumps(clip.labels, indent=1) + "\n", encoding="utf-8")
        print(f"{path}: {clip.labels['captions'][0]['text']}")
        files.append(str(path))
    rate = args.count / (time.monotonic() - began)
    return {"world": world.name, "split": split, "files": files, "clips_per_second": round(rate, 3)}


def _write_matches(world: World, args: argparse.Namespace) -> dict:
    if args.matches < 1 or args.seed < 0:
        raise UserError(f"cannot write {args.matches} matches from number {args.seed} on; give at least 1, from 0 on.")
    if not args.to:
        raise UserError("--matches needs --to DIR, the folder to write the films to.")
    minutes, folder = _minutes(args.minutes), pathlib.Path(args.to)
    folder.mkdir(parents=True, exist_ok=True)
    began, files, seconds = time.monotonic(), [], 0.0
    for number in range(args.seed, args.seed + args.matches):
        path, truth = write_match(world, number, minutes, folder)
        print(f"{path}: {clock(truth['seconds'])}, {len(truth['strokes'])} strokes, {len(truth['replays'])} replays")
        files.append(path)
        seconds += truth["seconds"]
    speed = round(seconds / (time.monotonic() - began), 2)
    return {"world": world.name, "files": files, "seconds": round(seconds, 1), "film_seconds_per_second": speed}


def _minutes(text: str) -> tuple[float, float]:
    """Reads `LOW-HIGH`, or one number for both."""
    low, _, high = text.partition("-")
    try:
        minutes = (float(low), float(high or low))
    except ValueError:
        minutes = (0.0, 0.0)
    if not 0.1 <= minutes[0] <= minutes[1] <= 600:
        raise UserError(f"--minutes {text} is not LOW-HIGH, two numbers from 0.1 to 600; such as 2-20.")
    return minutes


def _sizes(options: list[str]) -> dict[str, int]:
    """Reads `NAME=SIZE` options."""
    sizes = {}
    for option in options:
        name, _, size = option.partition("=")
        if name not in SPLITS or not size.isdecimal():
            raise UserError(f"--split {option} is not NAME=SIZE, NAME of {', '.join(SPLITS)}; such as train=4064.")
        sizes[name] = int(size)
    return sizes


if __name__ == "__main__":
    commands.run(main)
