"""Measures this machine: ``python -m hilight_jax.benchmark encoder|chat_step|...``, each with ``--help``.

encoder    the train step, and its share of the matrix multiplication speed measured beside it
chat_step  the same of align and tune, without their frozen towers
data       drawing clips of a billiards world, decoding them, and the whole input pipeline
chat       questions about a clip (configs/align.py, configs/tune.py; random weights): the time to the first token,
           tokens per second, memory, and the shares of a plain read of the weights and of a plain product
convert    a HiLight of the config's size and random weights, brought in and exported in every format: speed beside that
           of a plain copy of its files, and peak memory
search     a search in an index of --vectors random vectors: milliseconds, and recall against the exact search
serve      a server with --slots and one with a single slot under --clients: wrong answers, percentiles, memory
"""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hilight_jax.benchmarks import chat_speed, conversion_speed, data_speed, search_speed, server_load, train_step
from hilight_jax.billiards.worlds import WORLDS
from hilight_jax.core import commands
from hilight_jax.core.errors import UserError
from hilight_jax.stages.load_config import load_config


class Benchmark(NamedTuple):
    """One verb: ``measure(config, **options)`` returns the figures, for configs of ``stages``; without any for None."""

    help: str
    stages: tuple[str, ...]
    measure: Callable[..., dict[str, Any]]
    options: Mapping[str, Mapping[str, Any]]


def _option(kind: type, default: Any, help: str) -> dict[str, Any]:
    return {"type": kind, "default": default, "help": f"{help} (default: {default})" if default else help}


_STEP = {
    "batch_size": _option(int, None, "examples of a step (default: the config's; on a CPU a few)"),
    "steps": _option(int, 8, "steps to time, the peak in between"),
}
_AGAINST_PEAK = "the train step against the measured matrix multiplication peak"

BENCHMARKS = {
    "encoder": Benchmark(_AGAINST_PEAK, ("encoder",), train_step.measure, _STEP),
    "chat_step": Benchmark(_AGAINST_PEAK, ("align", "tune"), train_step.measure, _STEP),
    "data": Benchmark(
        "clips per second: generation, decoding, pipeline",
        ("encoder",),
        data_speed.measure,
        {
            "batch_size": _option(int, 16, "clips of a pipeline batch"),
            "world": _option(str, None, f"{', '.join(WORLDS)} (default: the config's, or one of its size)"),
            "clips": _option(int, None, "clips to draw (default: some ten seconds of them)"),
            "data_dir": _option(Path, Path("data"), "folder that holds the clips for the time being"),
            "workers": _option(int, len(os.sched_getaffinity(0)), "processes that draw, one per usable core"),
        },
    ),
    "chat": Benchmark(
        "time to the first token, tokens per second, memory, the machine's limits",
        ("align", "tune"),
        chat_speed.measure,
        {
            "words": _option(int, 40, "tokens of the prompt beside the clip's"),
            "new_tokens": _option(int, 16, "tokens of the answer"),
            "rounds": _option(int, 3, "repeats, after two that compile"),
        },
    ),
    "convert": Benchmark(
        "speed and memory of convert and export, beside a plain copy",
        ("align", "tune"),
        conversion_speed.measure,
        {
            "place": _option(Path, Path("data/passage"), "folder of all files"),
            "formats": _option(str, ",".join(conversion_speed.FORMATS), "exports, with commas between"),
        },
    ),
    "search": Benchmark(
        "a search in a large index: milliseconds and recall",
        (),
        search_speed.measure,
        {
            "vectors": _option(int, 1_000_000, "pieces of the index"),
            "width": _option(int, 128, "numbers of a vector"),
            "queries": _option(int, 200, "searches to time"),
            "top": _option(int, 10, "pieces to find"),
            "place": _option(Path, Path("data/search"), "folder that holds the index for the time being"),
        },
    ),
    "serve": Benchmark(
        "a server under load, with several slots and with one",
        ("align", "tune"),
        server_load.compare_slots,
        {
            "checkpoint": _option(str, "", "working directory of a run of align or tune, in place of --config"),
            "slots": _option(int, 8, "answers at a time"),
            "clients": _option(int, 32, "clients at a time"),
            "seconds": _option(float, 120.0, "duration of each load"),
            "new_tokens": _option(int, 32, "tokens of an answer"),
        },
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, measures, prints."""
    arguments, overrides = _parser().parse_known_args(argv)
    benchmark = BENCHMARKS[arguments.what]
    options = {name: getattr(arguments, name) for name in benchmark.options}
    for name, value in options.items():
        if isinstance(value, int) and value < 1:
            raise UserError(f"--{name} is {value}; give a whole number of at least 1, or leave it out.")
    given = getattr(arguments, "config", None)
    if overrides and not given:
        raise UserError(f"'{overrides[0]}' is not an argument; see --help.")
    config = load_config(given, overrides) if given else None
    if config is not None and config.stage not in benchmark.stages:
        raise UserError(
            f"'{given}' is a config of the stage '{config.stage}', which 'benchmark {arguments.what}' does "
            f"not measure; name one of {' or '.join(benchmark.stages)}, such as configs/{benchmark.stages[0]}.py:demo."
        )
    result = {"benchmark": arguments.what, "model": given or options.get("checkpoint", "")}
    result |= benchmark.measure(config, **options)
    print(table(result))
    if arguments.json:
        commands.print_json(result)
    return 0


def table(result: dict[str, Any]) -> str:
    """The figures as text, one a line."""
    lines = []
    for name, value in result.items():
        for label, item in value.items() if isinstance(value, dict) else [("", value)]:
            lines.append(f"{name} {label}".ljust(52) + (f"{item:.4g}" if isinstance(item, float) else str(item)))
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    keys = "Every key of the config can be set: --config.data.num_workers=2"
    parser = commands.parser("benchmark", __doc__, json_help="", epilog=keys)
    parts = parser.add_subparsers(dest="what", required=True, metavar="|".join(BENCHMARKS))
    for name, benchmark in BENCHMARKS.items():
        add = parts.add_parser(name, help=benchmark.help).add_argument
        if benchmark.stages:
            add("--config", required="checkpoint" not in benchmark.options, help="FILE.py[:PRESET[,key=value...]]")
        for option, settings in benchmark.options.items():
            add(f"--{option}", **settings)
        add("--json", action="store_true", help=commands.JSON_HELP)
    return parser


if __name__ == "__main__":
    commands.run(main)
