"""Reads all videos and texts before training does: ``python -m hilight_jax.check SOURCE [SOURCE ...]``.

Give all splits together to find duplicates between them, and the config of the training to measure texts and videos
against the model's sizes. Exit code 0 when nothing is wrong, 1 when something is.
"""

import argparse
import os
from collections import Counter

from hilight_jax.core import commands
from hilight_jax.core.errors import UserError
from hilight_jax.data.bad_clips import UnusableClip, write_quarantine
from hilight_jax.data.inspection import UNUSABLE, Finding, SourceReport, findings, inspect_source

CLIP_TEXT_LENGTH = 77


def main(argv: list[str] | None = None) -> int:
    """Checks the sources, prints what was found, and writes the quarantine list if one is asked for."""
    arguments, overrides = _parser().parse_known_args(argv)
    text_length, num_frames = _model_sizes(arguments.config, overrides)
    text_length = text_length if arguments.text_length is None else arguments.text_length
    reports = [inspect_source(s, arguments.workers, arguments.time_limit) for s in arguments.sources]
    found = list(findings(reports, text_length, num_frames))
    _print_summaries(reports)
    print(f"\na text may have {text_length} tokens, start and end included; a clip has {num_frames} or more frames.")
    _print_findings(found, arguments.show)
    unusable = {(f.source, f.id): f"{f.kind}: {f.reason}" for f in reversed(found) if f.kind in UNUSABLE}
    if arguments.quarantine:
        clips = [UnusableClip(source, clip_id, reason) for (source, clip_id), reason in sorted(unusable.items())]
        write_quarantine(arguments.quarantine, clips)
        print(f"\n{len(unusable)} unusable clips are listed in {arguments.quarantine}; "
              f"train with --config.data.quarantine={arguments.quarantine}")  # fmt: skip
    if arguments.json:
        result = {
            "sources": [report.summary() for report in reports],
            "counts": dict(Counter(finding.kind for finding in found)),
            "findings": [finding._asdict() for finding in found],
            "unusable": len(unusable),
            "text_length": text_length,
            "num_frames": num_frames,
            "clean": not found,
        }
        commands.print_json(result)
    return 1 if found else 0


def _model_sizes(config: str | None, overrides: list[str]) -> tuple[int, int]:
    """The tokens of a text and the frames of a clip that a config says; without one CLIP's length and any video."""
    if config is None:
        if overrides:
            raise UserError(f"'{overrides[0]}' is not an argument, or needs --config; see --help.")
        return CLIP_TEXT_LENGTH, 1
    # Imported here, because worker processes import this module too and have no use for jax.
    from hilight_jax.training.experiment import load_config

    data = load_config(config, overrides).data
    return data.text_length, data.num_frames


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="tfds:DIR/SPLIT, manifest:FILE, clip_vip:FILE, msrvtt:FILE or a path",
    )
    parser.add_argument(
        "--quarantine", metavar="FILE", help="write the unusable clips there, for config.data.quarantine"
    )
    parser.add_argument(
        "--config", metavar="FILE.py[:PRESET]", help="the training's config: tokens of a text and frames of a clip"
    )
    parser.add_argument(
        "--text_length", type=int, help=f"tokens of a text (default: the config's, or else {CLIP_TEXT_LENGTH})"
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="processes (default: one per usable core)")
    parser.add_argument("--time_limit", type=float, default=60.0, help="seconds for one video (default 60)")
    parser.add_argument("--show", type=int, default=10, help="findings of each kind to print (default 10)")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object on the last line")
    return parser


def _print_summaries(reports: list[SourceReport]) -> None:
    header = f"{'videos':>8} {'decodable':>9} {'hours':>8} {'seconds':>15} {'texts':>8} {'max tokens':>10}  source"
    print(header)
    for report in reports:
        s = report.summary()
        seconds = f"{s['shortest_seconds']:.1f} to {s['longest_seconds']:.1f}"
        print(
            f"{s['videos']:8} {s['decodable']:9} {s['hours']:8.2f} {seconds:>15} {s['texts']:8} "
            f"{s['longest_text_tokens']:10}  {report.name}"
        )


def _print_findings(found: list[Finding], show: int) -> None:
    if not found:
        print("\nnothing is wrong.")
    for kind, count in Counter(finding.kind for finding in found).items():
        print(f"\n{kind}: {count}")
        for finding in [f for f in found if f.kind == kind][:show]:
            print(f"  {finding.id} ({finding.source}): {finding.reason}")
        if count > show:
            print(f"  and {count - show} more (--show {count})")


if __name__ == "__main__":
    commands.run(main)
