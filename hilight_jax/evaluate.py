"""Evaluates a trained encoder: ``python -m hilight_jax.evaluate --checkpoint runs/encoder-demo [--data SOURCE]``.

Prints retrieval and grounding with their controls and writes them to ``<checkpoint>/evaluations/<name>.json``.
Without ``--data`` the held-out sources of the run's own configuration are evaluated, ``validation`` and ``unseen``.
"""

import argparse
import datetime
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilight_jax.core import commands
from hilight_jax.core.errors import UserError
from hilight_jax.data.sources import open_source
from hilight_jax.evals.evaluation import EncoderLike, evaluate_encoder, map_levels
from hilight_jax.evals.retrieval import RECALLS
from hilight_jax.training.encoder import load_encoder

RECALL_NAMES = tuple(f"R@{k}" for k in RECALLS)


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, evaluates, prints and writes."""
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", required=True, type=Path, help="working directory of a run")
    parser.add_argument(
        "--which",
        choices=("best", "latest"),
        default="latest",
        help="which of its checkpoints; best was chosen on validation clips",
    )
    parser.add_argument("--data", help="source of clips, e.g. tfds:data/demo/1.0.0/validation or manifest:clips.jsonl")
    parser.add_argument("--split", help="split of a stored dataset, when --data names its directory")
    parser.add_argument("--name", help="name of the result's file; default: the split, or the file's name")
    parser.add_argument("--batch_size", type=int, help="clips per batch; default: the run's eval_batch_size")
    parser.add_argument("--num_clips", type=int, help="evaluate only the first so many clips")
    parser.add_argument("--similarity", choices=("cosine", "dot"), help="default: that of the run's local loss")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object on the last line")
    arguments = parser.parse_args(argv)
    for name in ("batch_size", "num_clips"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name} is {value}; give a whole number of at least 1, or leave it out.")
    encoder = load_encoder(arguments.checkpoint, arguments.which)
    sources = specifications(encoder.config, arguments.data, arguments.split)
    check_names(sources, arguments.name)
    results = {}
    for specification in sources:
        source = open_source(specification)
        result = evaluate_encoder(
            encoder, source, arguments.batch_size, arguments.num_clips, arguments.similarity, show_progress=True
        )
        split = source_name(specification)
        part = f"-first-{arguments.num_clips}" if arguments.num_clips else ""  # No part replaces the whole.
        name = arguments.name or f"{split}{part}"
        described = describe(arguments, encoder, specification, name, split) | result
        write_result(arguments.checkpoint, described)
        print(tables(described))
        results[name] = described
    if arguments.json:
        commands.print_json(results)
    return 0


def specifications(config: Any, data: str | None, split: str | None) -> list[str]:
    """The sources to evaluate.

    Args:
      config: the run's configuration, asked when `data` is None.
      data: a source, or a stored dataset's directory when `split` is given.
      split: the only split to evaluate.

    Raises:
      UserError: the run's configuration names no validation clips.
    """
    if data is not None:
        return [f"{data.rstrip('/')}/{split}" if split else data]
    own = [source for source in (config.data.validation, config.data.unseen) if source]
    if not own:
        raise UserError("the run's config.data.validation names no clips; name a source with --data.")
    return [f"{own[0].rpartition('/')[0]}/{split}"] if split else own


def source_name(specification: str) -> str:
    """A file name for a source: its split, or its file's name without the suffix."""
    return Path(specification.partition(",")[0].rpartition(":")[2]).stem


def check_names(specifications: Sequence[str], name: str | None) -> None:
    """Refuses results that would overwrite each other.

    Raises:
      UserError: one name for several sources, or sources of equal names.
    """
    if name and len(specifications) > 1:
        raise UserError(
            f"--name {name} would give {' and '.join(specifications)} one file; evaluate one at a time with --split or "
            "--data, or leave --name out."
        )
    names = [source_name(specification) for specification in specifications]
    if len(set(names)) < len(names):
        raise UserError(
            f"the results of {' and '.join(specifications)} would both be called {names[0]}; evaluate one at a time "
            "with --data and --name."
        )


def describe(
    arguments: argparse.Namespace, encoder: EncoderLike, specification: str, name: str, split: str
) -> dict[str, Any]:
    """What stands above the figures: where they come from, and the command that gives them again."""
    command = ["python", "-m", "hilight_jax.evaluate", "--checkpoint", str(arguments.checkpoint)]
    command += ["--which", arguments.which, "--data", specification]
    for option in ("num_clips", "similarity", "name"):
        if (value := getattr(arguments, option)) is not None:
            command += [f"--{option}", str(value)]
    return {
        "name": name,
        "split": split,
        "source": specification,
        "which": arguments.which,
        "step": encoder.step,
        "map_levels": map_levels(encoder),
        "date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        "command": shlex.join(command),
    }


def write_result(workdir: Path, result: dict[str, Any]) -> Path:
    """Writes `evaluations/<name>.json` under the working directory."""
    path = workdir / "evaluations" / f"{result['name']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return path


def tables(result: dict[str, Any]) -> str:
    """Retrieval and grounding as text."""
    lines = [f"{result['name']}: {result['clips']} clips, {result['captions']} captions of {result['source']}"]
    lines.append(f"checkpoint: step {result['step']}, {result['which']}")
    if result["skipped"]:
        named = "; ".join(f"{clip['id']}: {clip['reason']}" for clip in result["skipped"][:5])
        more = "; ..." if len(result["skipped"]) > 5 else ""
        lines.append(f"left out: {len(result['skipped'])} clips ({named}{more})")
    lines += ["", _row("retrieval", (*RECALL_NAMES, "median", "mean"))]
    for way in ("plain", "dsl_clip_vip", "dsl_both_ways"):
        for direction, ranks in result["retrieval"][way].items():
            figures = [f"{ranks[name]:.3f}" for name in RECALL_NAMES]
            ends = [f"{ranks['median_rank']:g}", f"{ranks['mean_rank']:.1f}"]
            lines.append(_row(f"{direction.replace('_', ' ')}, {way}", (*figures, *ends)))
    classes = result["grounding"]["classes"]
    if not classes:
        return "\n".join([*lines, "", "grounding: not run, the captions name no thing whose place is known", ""])
    columns = ("pointing", "rnd patch", "rnd ball", "shuffled", "any ball", "soft IoU", "uniform", "questions")
    names = ("pointing", "area_chance", "random_ball", "shuffled_word", "any_ball", "soft_iou", "soft_iou_uniform")
    lines += ["", _row(f"grounding ({result['grounding']['similarity']})", columns)]
    for kind, group in classes.items():
        title = kind.replace("_", " ")
        lines.append(_row(title, (*(f"{group[name]:.3f}" for name in names), str(group["questions"]))))
    lines += [
        "",
        f"maps of the level: {' + '.join(result['map_levels'])}; cushions, which are no one place, are left out",
    ]
    if levels := result["grounding"]["levels"]:
        lines += ["", _row("ball, by one level alone", ("pointing", "rnd patch", "rnd ball"))]
        controls = [f"{classes['ball'][name]:.3f}" for name in ("area_chance", "random_ball")]
        lines += [_row(name, (f"{pointing:.3f}", *controls)) for name, pointing in levels.items()]
    return "\n".join([*lines, ""])


def _row(name, cells):
    return f"{name:<30}" + "".join(f"{cell:>10}" for cell in cells)


if __name__ == "__main__":
    commands.run(main)
