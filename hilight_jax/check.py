"""Reads all videos and texts before training does: ``python -m hilight_jax.check SOURCE [SOURCE ...]``.

Give all splits together to find duplicates between them. Exit code 0 when nothing is wrong, 1 when something is.
"""

import argparse
import os
from collections import Counter

from hilight_jax.core import commands
from hilight_jax.data import inspection
from hilight_jax.data.bad_clips import write_quarantine


def main(argv: list[str] | None = None) -> int:
    """Checks the sources, prints what was found, and writes the quarantine list if one is asked for."""
    arguments = _parser().parse_args(argv)
    reports = [inspection.inspect_source(s, arguments.workers, arguments.time_limit) for s in arguments.sources]
    found = list(inspection.findings(reports, arguments.text_length))
    _print_summaries(reports)
    _print_findings(found, arguments.show)
    unusable = {f.id: f"{f.kind}: {f.reason}" for f in reversed(found) if f.kind in inspection.UNUSABLE}
    if arguments.quarantine:
        write_quarantine(arguments.quarantine, sorted(unusable.items()))
        print(f"\n{len(unusable)} unusable clips are listed in {arguments.quarantine}; "
              f"train with --config.data.quarantine={arguments.quarantine}")  # fmt: skip
    if arguments.json:
        result = {
            "sources": [report.summary() for report in reports],
            "counts": dict(Counter(finding.kind for finding in found)),
            "findings": [finding._asdict() for finding in found],
            "unusable": len(unusable),
            "clean": not found,
        }
        commands.print_json(result)
    return 1 if found else 0


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
        "--text_length", type=int, default=77, help="tokens of a text that the model reads (default 77)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--time_limit", type=float, default=60.0, help="seconds for one video (default 60)")
    parser.add_argument("--show", type=int, default=10, help="findings of each kind to print (default 10)")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object on the last line")
    return parser


def _print_summaries(reports: list[inspection.SourceReport]) -> None:
    header = f"{'videos':>8} {'decodable':>9} {'hours':>8} {'seconds':>15} {'texts':>8} {'max tokens':>10}  source"
    print(header)
    for report in reports:
        s = report.summary()
        seconds = f"{s['shortest_seconds']:.1f} to {s['longest_seconds']:.1f}"
        print(
            f"{s['videos']:8} {s['decodable']:9} {s['hours']:8.2f} {seconds:>15} {s['texts']:8} "
            f"{s['longest_text_tokens']:10}  {report.name}"
        )


def _print_findings(found: list[inspection.Finding], show: int) -> None:
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
