"""Reads all videos and texts before training: ``python -m hilight_jax.check SOURCE [SOURCE ...]``.

A source holds clips with captions, or conversations about clips (questions:, hilight:, video_instruct:, valley:). Give
all splits together to find duplicates between them, and the config of the training to measure texts and videos against
the model's sizes. Exit code 0 when nothing is wrong, 1 when something is.
"""

import argparse
import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hilight_jax.core import commands
from hilight_jax.core.errors import UserError
from hilight_jax.data.bad_clips import UnusableClip, write_quarantine
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.inspection import conversation_findings, inspect_conversations
from hilight_jax.data.conversations.sources import holds_conversations
from hilight_jax.data.inspection import UNUSABLE, Finding, findings, inspect_source

CLIP_TEXT_LENGTH = 77


def main(argv: list[str] | None = None) -> int:
    """Checks the sources, prints the findings, and writes the quarantine list if ``--quarantine`` is given."""
    arguments, overrides = _parser().parse_known_args(argv)
    data = _data_config(arguments.config, overrides)
    text_length = arguments.text_length
    if text_length is None:
        text_length = getattr(data, "text_length", CLIP_TEXT_LENGTH)
    elif text_length < 1:
        raise UserError(f"--text_length is {text_length}, but a text has at least 1 token.")
    num_frames = getattr(data, "num_frames", 1)
    talk = _conversation_sizes(data, arguments.tokenizer)
    effort = {"num_workers": arguments.workers, "time_limit": arguments.time_limit}
    reports = [inspect_source(s, **effort) for s in arguments.sources if not holds_conversations(s)]
    talks = [inspect_conversations(s, talk, **effort) for s in arguments.sources if holds_conversations(s)]
    found = [*findings(reports, text_length, num_frames), *conversation_findings(talks, num_frames)]
    limits = "\nlimits" if arguments.config else "\nlimits (defaults; --config gives the training's)"
    if reports:
        _print_summaries([report.summary() for report in reports])
        print(f"{limits}: a text may have {text_length} tokens with start and end, a clip {num_frames} or more frames.")
    if talks:
        _print_conversations([report.summary() for report in talks])
        lengths = f"and {talk.max_length} in all" if talk.tokenizer else "and any length without --tokenizer"
        print(f"{limits}: a conversation may have {talk.max_videos} clips of {talk.num_video_tokens} tokens {lengths}.")
    _print_findings(found, arguments.show)
    unusable = {(f.source, f.id): f"{f.kind}: {f.reason}" for f in reversed(found) if f.kind in UNUSABLE}
    if arguments.quarantine:
        clips = [UnusableClip(source, clip_id, reason) for (source, clip_id), reason in sorted(unusable.items())]
        write_quarantine(arguments.quarantine, clips)
        found_unusable = "1 unusable clip is" if len(unusable) == 1 else f"{len(unusable)} unusable clips are"
        print(f"\n{found_unusable} listed in {arguments.quarantine}; "
              f"train with --config.data.quarantine={arguments.quarantine}")  # fmt: skip
    if arguments.json:
        result = {
            "sources": [report.summary() for report in [*reports, *talks]],
            "counts": dict(Counter(finding.kind for finding in found)),
            "findings": [finding._asdict() for finding in found],
            "unusable": len(unusable),
            "text_length": text_length,
            "num_frames": num_frames,
            "max_length": talk.max_length,
            "clean": not found,
        }
        commands.print_json(result)
    return 1 if found else 0


def _data_config(config: str | None, overrides: list[str]) -> Any:
    """The data part of a training's config, whatever its stage; None without one."""
    if config is None:
        if overrides:
            raise UserError(f"'{overrides[0]}' is not an argument, or needs --config; see --help.")
        return None
    # Imported here, because worker processes import this module too and do not need jax.
    from hilight_jax.stages.load_config import load_config

    return load_config(config, overrides).data


def _conversation_sizes(data: Any, tokenizer: str) -> ConversationDataConfig:
    """Returns the sizes to check conversations against: the config's, or those of the released model and two clips."""
    sizes = data if isinstance(data, ConversationDataConfig) else ConversationDataConfig(max_videos=2)
    if tokenizer:
        sizes = dataclasses.replace(sizes, tokenizer=tokenizer)
    if sizes.tokenizer:
        GemmaTokenizer(sizes.tokenizer)
    return sizes


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("check", __doc__, "print everything as one JSON object on the last line")
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="clips with captions: tfds:DIR/SPLIT, manifest:FILE, clip_vip:FILE, msrvtt:FILE or a path; conversations: "
        "questions:DIR/SPLIT, hilight:FILE, video_instruct:FILE or valley:FILE, each of the files with ,videos=DIR",
    )
    add("--quarantine", metavar="FILE", help="write the unusable clips there, for config.data.quarantine")
    add("--config", metavar="FILE.py[:PRESET]", help="the training's config: tokens of a text and frames of a clip")
    add("--text_length", type=int, help=f"tokens of a text (default: the config's, or else {CLIP_TEXT_LENGTH})")
    add("--tokenizer", default="", metavar="FILE", help="the language model's tokenizer.model (default: the config's)")
    cores = len(os.sched_getaffinity(0))
    add("--workers", type=int, default=cores, help="processes (default: one per usable core)")
    add("--time_limit", type=float, default=60.0, help="seconds for one video (default 60)")
    add("--show", type=int, default=10, help="findings of each kind to print (default 10)")
    return parser


def _print_summaries(summaries: Sequence[dict[str, Any]]) -> None:
    header = f"{'videos':>8} {'decodable':>9} {'hours':>8} {'seconds':>15} {'texts':>8} {'max tokens':>10}  source"
    print(header)
    for s in summaries:
        seconds = f"{s['shortest_seconds']:.1f} to {s['longest_seconds']:.1f}"
        print(
            f"{s['videos']:8} {s['decodable']:9} {s['hours']:8.2f} {seconds:>15} {s['texts']:8} "
            f"{s['longest_text_tokens']:10}  {s['source']}"
        )


def _print_conversations(summaries: Sequence[dict[str, Any]]) -> None:
    print(
        f"{'conversations':>13} {'usable':>8} {'answers':>8} {'clips':>8} {'max clips':>9} {'max tokens':>10}  source"
    )
    for s in summaries:
        print(
            f"{s['conversations']:13} {s['usable']:8} {s['answers']:8} {s['clips']:8} {s['most_clips']:9} "
            f"{s['longest_tokens'] or '-':>10}  {s['source']}"
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
