"""Evaluates a run: ``python -m hilight_jax.evaluate --checkpoint runs/encoder-demo [--data SOURCE]``.

An encoder is scored by retrieval and grounding, a chat model by its answers to the questions of held-out
conversations, everything beside its controls. The figures are printed and written to
``<checkpoint>/evaluations/<name>.json``, a chat model's answers one by one beside them (``<name>.answers.jsonl``).
Without ``--data`` the held-out sources of the run's own configuration are evaluated, ``validation`` and ``unseen``.

``--ask 3`` only asks a chat model three questions about one held-out clip and prints the answers beside the truth.
``--predictions FILE --data msvd_qa:test_qa.json`` scores answers that any model wrote to a file (msvd_qa, msrvtt_qa,
activitynet_qa; add ``,train=train_qa.json`` for controls counted on the training answers).
"""

import argparse
import dataclasses
import datetime
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from hilight_jax.core import commands
from hilight_jax.core.errors import CheckpointError, DataError, UserError
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.sources import open_conversations
from hilight_jax.data.sources import open_source
from hilight_jax.evals.answer_tables import answer_tables, asked_table
from hilight_jax.evals.encoder_tables import encoder_tables
from hilight_jax.evals.evaluation import evaluate_encoder, map_levels
from hilight_jax.evals.known_answers import KnownAnswers, count_answers
from hilight_jax.evals.qa_files import score_predictions
from hilight_jax.evals.source_names import check_names, source_name, specifications
from hilight_jax.evals.video_qa import ask_about_one_clip, evaluate_video_qa
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.pages.results import read_stage
from hilight_jax.stages.trained_chat import load_chat_model
from hilight_jax.stages.trained_encoder import load_encoder

# What leads a user to the same figures again, apart from the run, the checkpoint and the source.
_OPTIONS = ("num_clips", "similarity", "history", "no_controls", "max_new_tokens", "name")
# The options that each kind of evaluation reads.
_OF_RUNS = {"checkpoint", "which", "data", "split", "json"}
_OF_ALL_QUESTIONS = {"name", "batch_size", "num_clips"}
_READ = {
    "a file of predictions": {"predictions", "data", "name", "json"},
    "an encoder": {*_OF_RUNS, *_OF_ALL_QUESTIONS, "similarity"},
    "a chat model": {*_OF_RUNS, *_OF_ALL_QUESTIONS, "history", "no_controls", "max_new_tokens"},
    "--ask": {*_OF_RUNS, "ask", "max_new_tokens"},
}


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, evaluates, prints and writes."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    for name in ("batch_size", "num_clips", "ask", "max_new_tokens"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name} is {value}; give a whole number of at least 1, or leave it out.")
    if arguments.name and Path(arguments.name).name != arguments.name:
        raise UserError(f"--name is '{arguments.name}', but must be the name of a file without a directory.")
    if arguments.predictions:
        check_options(parser, arguments, "a file of predictions")
        results = score_file(arguments)
    elif arguments.checkpoint is None:
        raise UserError("name a run's working directory with --checkpoint, or a file of answers with --predictions.")
    else:
        evaluate = {"encoder": evaluate_encoder_run, "align": evaluate_chat_run, "tune": evaluate_chat_run}
        stage = read_stage(arguments.checkpoint)
        if stage not in evaluate:
            raise CheckpointError(
                f"'{arguments.checkpoint}' is a run of the stage '{stage}', which is not evaluated by itself; name a "
                f"run of {', '.join(evaluate)}."
            )
        kind = "an encoder" if stage == "encoder" else "--ask" if arguments.ask else "a chat model"
        check_options(parser, arguments, kind)
        results = evaluate[stage](arguments)
    if arguments.json:
        commands.print_json(results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, help="working directory of a run")
    add("--which", choices=("best", "latest"), default="latest", help="which of its checkpoints; best was chosen on "
        "validation clips")  # fmt: skip
    add("--data", help="source of clips, e.g. tfds:data/demo/1.0.0/validation, or of conversations, e.g. "
        "questions:data/demo/1.0.0/validation")  # fmt: skip
    add("--split", help="split of a stored dataset, when --data names its directory")
    add("--name", help="name of the result's file; default: the split, or the file's name")
    add("--batch_size", type=int, help="clips or questions per batch; default: the run's eval_batch_size")
    add("--num_clips", type=int, help="evaluate only the first so many clips, or conversations")
    add("--similarity", choices=("cosine", "dot"), help="of an encoder; default: that of the run's local loss")
    add("--ask", type=int, metavar="N", help="only ask a chat model N questions about one held-out clip")
    add("--history", action="store_true", help="put the earlier turns of its conversation before a question")
    add("--no_controls", action="store_true", help="do not also show the chat model other clips: half the time")
    add("--max_new_tokens", type=int, help="longest answer of a chat model (default: 64 tokens)")
    add("--predictions", help="a file of answers to score on --data; no run is needed")
    add("--json", action="store_true", help="print the results as one JSON object on the last line")
    return parser


def check_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace, kind: str) -> None:
    """Raises a UserError for options that have no effect on a kind of evaluation, one of `_READ`."""
    given = {name for name, value in vars(arguments).items() if value != parser.get_default(name)}
    if unread := sorted(given - _READ[kind]):
        names = ", ".join(f"--{name}" for name in unread)
        raise UserError(f"{names} would have no effect on {kind}; leave {'it' if len(unread) == 1 else 'them'} out.")


def evaluate_encoder_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores an encoder on every source, and prints and writes each result; returns them by name."""
    encoder = load_encoder(arguments.checkpoint, arguments.which)
    sources = specifications(encoder.config, arguments.data, arguments.split)
    check_names(sources, arguments.name)
    results = {}
    for specification in sources:
        result = evaluate_encoder(
            encoder,
            open_source(specification),
            arguments.batch_size,
            arguments.num_clips,
            arguments.similarity,
            show_progress=True,
        )
        described = describe(arguments, encoder.step, specification) | {"map_levels": map_levels(encoder)} | result
        write_result(arguments.checkpoint, described)
        print(encoder_tables(described))
        results[described["name"]] = described
    return results


def evaluate_chat_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores a chat model on every source, or only asks; returns results by name, answers one by one left out."""
    model = load_chat_model(arguments.checkpoint, arguments.which)
    sources = specifications(model.run, arguments.data, arguments.split)
    check_names(sources, arguments.name)
    data = dataclasses.replace(model.data, tokenizer=str(model.tokenizer))
    generator = Generator(model.config, model.params, GemmaTokenizer(model.tokenizer), data.max_length)
    sampling = SamplingConfig(max_new_tokens=arguments.max_new_tokens or 64)
    if arguments.ask:
        asked = ask_about_one_clip(generator, sampling, open_conversations(sources[0]), data, arguments.ask)
        if len(asked) < arguments.ask:
            sys.stderr.write(f"--ask is {arguments.ask}, but no clip has more than {len(asked)} questions.\n")
        print(asked_table(asked))
        return {"asked": [item.as_json() for item in asked]}
    known, results = known_answers(data.train), {}
    for specification in sources:
        result = evaluate_video_qa(
            generator,
            sampling,
            open_conversations(specification),
            data,
            known,
            controls=not arguments.no_controls,
            history=arguments.history,
            batch_size=arguments.batch_size or model.run.eval_batch_size,
            num_conversations=arguments.num_clips,
            show_progress=True,
        )
        described = describe(arguments, model.step, specification) | result
        answers = described.pop("answers")
        described["answers_file"] = f"{described['name']}.answers.jsonl"
        path = write_result(arguments.checkpoint, described)
        lines = "".join(json.dumps(answer) + "\n" for answer in answers)  # In ASCII, as ids may be no Unicode.
        path.with_name(described["answers_file"]).write_text(lines, encoding="ascii")
        print(answer_tables(described))
        results[described["name"]] = described
    return results


def known_answers(specification: str) -> KnownAnswers | None:
    """The answers of the training source; None, and a line that says so, where it is not there any more."""
    try:
        return count_answers(open_conversations(specification), show_progress=True)
    except DataError as error:
        sys.stderr.write(f"the training answers cannot be counted ({error}), so the controls are weaker.\n")
        return None


def score_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores a file of predictions and prints the result; writes nothing."""
    if not arguments.data:
        raise UserError("--predictions needs --data: the published questions, e.g. --data msvd_qa:test_qa.json.")
    name = arguments.name or Path(arguments.predictions).stem
    result = {"name": name, "source": arguments.data, **score_predictions(arguments.predictions, arguments.data)}
    del result["answers"]
    print(answer_tables(result))
    return {name: result}


def describe(arguments: argparse.Namespace, step: int, specification: str) -> dict[str, Any]:
    """What stands above the figures: where they come from, and the command that gives them again."""
    split = source_name(specification)
    part = f"-first-{arguments.num_clips}" if arguments.num_clips else ""  # No part replaces the whole.
    command = ["python", "-m", "hilight_jax.evaluate", "--checkpoint", str(arguments.checkpoint)]
    command += ["--which", arguments.which, "--data", specification]
    for option in _OPTIONS:
        value = getattr(arguments, option)
        if value not in (None, False):
            command += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    return {
        "name": arguments.name or f"{split}{part}",
        "split": split,
        "source": specification,
        "which": arguments.which,
        "step": step,
        "date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        "command": shlex.join(command),
    }


def write_result(workdir: Path, result: dict[str, Any]) -> Path:
    """Writes `evaluations/<name>.json` under the working directory."""
    path = workdir / "evaluations" / f"{result['name']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return path


if __name__ == "__main__":
    commands.run(main)
