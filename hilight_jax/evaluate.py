"""Evaluates a run: ``python -m hilight_jax.evaluate --checkpoint runs/encoder-demo [--data SOURCE]``.

An encoder is scored by retrieval and grounding, a chat model by its answers to the questions of held-out
conversations, everything beside its controls. The figures are printed and written to
``<checkpoint>/evaluations/<name>.json``; beside them a chat model's answers one by one (``<name>.answers.jsonl``), and
the influence of every clip on the figures (``<name>.influences.jsonl``), by which ``ablate`` compares runs.
Without ``--data`` the held-out sources of the run's own configuration are evaluated, ``validation`` and ``unseen``.
The name is that of the source's split, with what ``--which best`` and options that change the figures add, as in
``validation-best-history``, and with the world's name where the run has another one, as in ``demo-v1-validation``: no
other figures replace those of ``validation``.

``--evidence`` also measures the evidence of a chat model's answers: the share of it that lies on the balls that the
question is about, and how often the answer changes when it is hidden.
``--ask 3`` only asks a chat model three questions about one held-out clip and prints the answers beside the truth.
``--predictions FILE --data msvd_qa:test_qa.json`` scores answers that any model wrote to a file (msvd_qa, msrvtt_qa,
activitynet_qa; add ``,train=train_qa.json`` for controls counted on the training answers).
"""

import argparse
import datetime
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, cast

from hilight_jax.core import commands
from hilight_jax.core.atomic_files import write_bytes
from hilight_jax.core.errors import CheckpointError, UserError
from hilight_jax.data.sources import same_file
from hilight_jax.evals.qa_files import score_predictions
from hilight_jax.evals.result_tables import answer_tables
from hilight_jax.formats.exporting.packed import find_run
from hilight_jax.generation.zoom import parse_zoom
from hilight_jax.ops.word_scores import WORD_WEIGHT
from hilight_jax.runs.workdir import read_stage
from hilight_jax.stages.stage import Asks, EvaluationOptions, Evaluator
from hilight_jax.stages.table import STAGES

# Options of the command that prints the same figures again, beside the run, the checkpoint and the source.
_OPTIONS = (
    "num_clips",
    "similarity",
    "word_weight",
    "shortlist",
    "shuffle_positions",
    "zoom",
    "per_kind",
    "history",
    "no_controls",
    "max_new_tokens",
    "evidence",
    "name",
)
# Those that change the figures, and so the name of the result's file.
_IN_NAME = (
    "similarity",
    "word_weight",
    "shortlist",
    "shuffle_positions",
    "zoom",
    "history",
    "no_controls",
    "max_new_tokens",
)
# The options that every evaluation of a run reads; those of one stage are in its evaluator.
_OF_RUNS = {"checkpoint", "which", "data", "split", "json"}
_OF_ALL_QUESTIONS = {"name", "batch_size", "num_clips"}


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, evaluates, prints and writes."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    for name in ("batch_size", "num_clips", "per_kind", "shortlist", "ask", "max_new_tokens", "evidence"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name} is {value}; give a whole number of at least 1, or leave it out.")
    if arguments.word_weight is not None and not 0 <= arguments.word_weight < float("inf"):
        raise UserError(f"--word_weight is {arguments.word_weight:g}; give a number of at least 0, or leave it out.")
    if arguments.name and Path(arguments.name).name != arguments.name:
        raise UserError(f"--name is '{arguments.name}', but must be the name of a file without a directory.")
    if arguments.predictions:
        check_options(parser, arguments, {"predictions", "data", "name", "json"}, "a file of predictions")
        results = score_file(arguments)
    elif arguments.checkpoint is None:
        raise UserError("name a run's working directory with --checkpoint, or a file of answers with --predictions.")
    else:
        results = evaluate(parser, arguments)
    if arguments.json:
        commands.print_json(results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("evaluate", __doc__)
    add = parser.add_argument
    add("--checkpoint", type=Path, help="working directory of a run, or a packed model such as billiards-mini")
    add("--which", choices=("best", "latest"), default="latest", help="which of its checkpoints; best was chosen on "
        "validation clips")  # fmt: skip
    add("--data", help="source of clips, e.g. tfds:data/demo-v1/1.0.0/validation, or of conversations, e.g. "
        "questions:data/demo-v1/1.0.0/validation")  # fmt: skip
    add("--split", help="split of a stored dataset, when --data names its directory")
    add("--name", help="name of the result's file; default: the split, or the file's name, behind "
        "its world if the run has another one, and the options that change the figures")  # fmt: skip
    add("--batch_size", type=int, help="clips or questions per batch; default: the run's eval_batch_size")
    add("--num_clips", type=int, help="evaluate only the first so many clips, or conversations")
    add("--similarity", choices=("cosine", "dot"), help="of an encoder; default: that of the run's local loss")
    add("--word_weight", type=float, help=f"of an encoder: weight of words in retrieval (default: {WORD_WEIGHT:g})")
    add("--shortlist", type=int, help="of an encoder: candidates of a query that words score; default: all")
    add("--shuffle_positions", action="store_true", help="of an encoder: put the position embeddings of patches in "
        "another order, to see what it does by position")  # fmt: skip
    add("--zoom", help="of an encoder on annotated frames (--data points:FILE.json,videos=DIR; CVAT, COCO and YOLO "
        "too): off, auto, or the picture's shorter side in sides of the model's square (default: auto)")  # fmt: skip
    add("--ask", type=int, metavar="N", help="only ask a chat model N questions about one held-out clip")
    add("--per_kind", type=int, metavar="N", help="ask a chat model only the first N questions of each kind")
    add("--history", action="store_true", help="put the earlier turns of its conversation before a question")
    add("--no_controls", action="store_true", help="do not also show the chat model other clips: half the time")
    add("--max_new_tokens", type=int, help="longest answer of a chat model (default: 64 tokens)")
    add("--evidence", type=int, nargs="?", const=100, metavar="N", help="also measure a chat model's evidence, on N "
        "questions of each kind (default: 100)")  # fmt: skip
    add("--predictions", help="a file of answers to score on --data; no run is needed")
    return parser


def check_options(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, read: Set[str], evaluation: str
) -> None:
    """Refuses options that an evaluation does not read.

    Raises:
      UserError: The options are named.
    """
    given = {name for name, value in vars(arguments).items() if value != parser.get_default(name)}
    if unread := sorted(given - read):
        names = ", ".join(f"--{name}" for name in unread)
        raise UserError(
            f"{names} would have no effect on {evaluation}; leave {'it' if len(unread) == 1 else 'them'} out."
        )


def evaluate(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluates a run on every source; returns the results by name, the answers one by one left out."""
    workdir = find_run(arguments.checkpoint)
    stage = read_stage(workdir)
    evaluators = {name: row.evaluator for name, row in STAGES.items() if row.evaluator is not None}
    if stage not in evaluators:
        raise CheckpointError(
            f"'{workdir}' is a run of the stage '{stage}', which is not evaluated by itself; name a run "
            f"of {', '.join(evaluators)}."
        )
    can = evaluators[stage].options
    if arguments.ask and "ask" in can:
        check_options(parser, arguments, _OF_RUNS | {"ask", "max_new_tokens"}, "--ask")
    else:
        check_options(parser, arguments, _OF_RUNS | _OF_ALL_QUESTIONS | can, evaluators[stage].kind)
    evaluator = evaluators[stage](workdir, arguments.which)
    sources = specifications(evaluator.config, arguments.data, arguments.split)
    check_names({source: result_name(source, evaluator.config.data) for source in sources}, arguments.name)
    options = EvaluationOptions(
        batch_size=arguments.batch_size,
        num_clips=arguments.num_clips,
        per_kind=arguments.per_kind,
        similarity=arguments.similarity,
        word_weight=arguments.word_weight,
        shortlist=arguments.shortlist,
        shuffle_positions=arguments.shuffle_positions,
        zoom=None if arguments.zoom is None else parse_zoom(arguments.zoom, "--zoom"),
        history=arguments.history,
        controls=not arguments.no_controls,
        max_new_tokens=arguments.max_new_tokens,
        evidence=arguments.evidence,
        ask=arguments.ask,
    )
    if arguments.ask:
        asked, table = cast(Asks, evaluator).ask(sources[0], options)
        print(table)
        return {"asked": [item.as_json() for item in asked]}
    results = {}
    for specification in sources:
        result = describe(arguments, evaluator, specification) | evaluator.evaluate(specification, options)
        answers, influences = result.pop("answers", None), result.pop("influences", None)
        if answers is not None:
            result["answers_file"] = f"{result['name']}.answers.jsonl"
        write_lines(workdir, f"{result['name']}.answers.jsonl", answers)
        of_clips = None if influences is None else [{"figure": f, "influences": x} for f, x in influences.items()]
        write_lines(workdir, f"{result['name']}.influences.jsonl", of_clips)
        write_result(workdir, result)  # Last, for it says that the evaluation is complete.
        print(evaluator.table(result))
        results[result["name"]] = result
    return results


def write_lines(workdir: Path, name: str, lines: Iterable[Mapping[str, Any]] | None) -> None:
    """Writes a file of JSON lines beside a result, whole or not at all; without lines, takes an earlier one away."""
    path = workdir / "evaluations" / name
    if lines is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, "".join(json.dumps(line) + "\n" for line in lines).encode("ascii"))  # Ids may be no Unicode.


def score_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores a file of predictions and prints the result; writes nothing."""
    if not arguments.data:
        raise UserError("--predictions needs --data: the published questions, e.g. --data msvd_qa:test_qa.json.")
    name = arguments.name or Path(arguments.predictions).stem
    result = {"name": name, "source": arguments.data, **score_predictions(arguments.predictions, arguments.data)}
    del result["answers"]
    print(answer_tables(result))
    return {name: result}


def describe(arguments: argparse.Namespace, evaluator: Evaluator, specification: str) -> dict[str, Any]:
    """The heading of the figures: their source, and the command that computes them again."""
    split = result_name(specification, evaluator.config.data)
    command = ["python", "-m", "hilight_jax.evaluate", "--checkpoint", str(arguments.checkpoint)]
    command += ["--which", arguments.which, "--data", specification]
    for option, value in _given(arguments, _OPTIONS):
        command += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    return {
        "name": arguments.name or default_name(arguments, split),
        "split": split,
        "source": specification,
        "which": arguments.which,
        "step": evaluator.step,
        "date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        "command": shlex.join(command),
    }


def default_name(arguments: argparse.Namespace, name: str) -> str:
    """A source's name, and behind it each option that changes the figures."""
    parts = ((arguments.num_clips, "first"), (arguments.per_kind, "per-kind"))
    suffixes = [f"-{words}-{number}" for number, words in parts if number]
    if arguments.which == "best":
        suffixes.append("-best")
    for option, value in _given(arguments, _IN_NAME):
        suffixes.append(f"-{option.replace('_', '-')}" + ("" if value is True else f"-{value}"))
    return name + "".join(suffixes)


def write_result(workdir: Path, result: dict[str, Any]) -> None:
    """Writes `evaluations/<name>.json` under the working directory, whole or not at all."""
    path = workdir / "evaluations" / f"{result['name']}.json"
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, json.dumps(result, indent=1).encode())


def specifications(config: Any, data: str | None, split: str | None) -> list[str]:
    """Lists the sources to evaluate: `data`, one `split` of the dataset in its directory, or those of a run's `config`.

    Raises:
      UserError: the run's configuration names no validation clips.
    """
    if data is not None:
        return [_split_of(data, split) if split else data]
    own = [source for source in (config.data.validation, config.data.unseen) if source]
    if not own:
        raise UserError("the run's config.data.validation names no clips; name a source with --data.")
    place, comma, options = own[0].partition(",")
    return [_split_of(f"{place.rpartition('/')[0]}{comma}{options}", split)] if split else own


def source_name(specification: str) -> str:
    """The name of a source's result: its split, or its file's name without the suffix."""
    return _place(specification).stem


def dataset_name(specification: str) -> str:
    """The name of a source's dataset: NAME of DIRECTORY/NAME/1.0.0/SPLIT, with any later version behind it, or ''."""
    *_, world, version, _ = "", "", *_place(specification).parts
    if re.fullmatch(r"\d+\.\d+\.\d+", version) is None:
        return ""
    return world if version == "1.0.0" else f"{world}-{version}"


def result_name(specification: str, data: Any) -> str:
    """The name of a source's result: that of the source, behind its world's where the run has another one.

    A file has no world. Its folder stands for it where one of the run's own sources has the file's name.

    Args:
      specification: Of the source.
      data: The run's ``config.data``.
    """
    own = [source for source in (data.validation, data.unseen) if source]
    name, world = source_name(specification), dataset_name(specification)
    own_worlds = {dataset_name(source) for source in own}
    if not own or (world and world in own_worlds) or any(same_file(specification, source) for source in own):
        return name
    if (world and any(own_worlds)) or name in map(source_name, own):
        return f"{world or _place(specification).resolve().parent.name}-{name}"
    return name


def _place(specification: str) -> Path:
    """The file or directory of a source."""
    return Path(specification.partition(",")[0].rpartition(":")[2])


def check_names(names: Mapping[str, str], name: str | None) -> None:
    """Refuses results that would overwrite each other.

    Args:
      names: Of the results, by source.
      name: Given for all.

    Raises:
      UserError: one name for several sources, or sources of equal names.
    """
    sources = list(names)
    if name and len(sources) > 1:
        raise UserError(
            f"--name {name} would give {' and '.join(sources)} one file; evaluate one at a time with --split or "
            "--data, or leave --name out."
        )
    if len(set(names.values())) < len(names):
        raise UserError(
            f"the results of {' and '.join(sources)} would both be called {names[sources[0]]}; evaluate one at a time "
            "with --data and --name."
        )


def _given(arguments: argparse.Namespace, options: Sequence[str]) -> list[tuple[str, Any]]:
    """The options that were given, with their values; 0 is one."""
    values = [(option, getattr(arguments, option)) for option in options]
    return [(option, value) for option, value in values if value is not None and value is not False]


def _split_of(specification: str, split: str) -> str:
    """``KIND:DIRECTORY[,OPTIONS]`` as ``KIND:DIRECTORY/SPLIT[,OPTIONS]``."""
    directory, comma, options = specification.partition(",")
    return f"{directory.rstrip('/')}/{split}{comma}{options}"


if __name__ == "__main__":
    commands.run(main)
