"""Writes the report page of a run: ``python -m hilight_jax.report runs/encoder-demo``.

The page shows what is there: metrics, the results of ``evaluate``, control runs, and example clips of ``--data``.
"""

import argparse
from pathlib import Path

from hilight_jax.core import commands
from hilight_jax.data.sources import is_missing, open_source
from hilight_jax.evals.word_examples import held_out
from hilight_jax.pages.run_page import write_report
from hilight_jax.training.encoder import load_encoder
from hilight_jax.training.metrics import read_metrics


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, draws the examples and writes the page."""
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workdir", type=Path, help="working directory of a run")
    parser.add_argument(
        "--which", choices=("best", "latest"), default="best", help="checkpoint that draws the examples"
    )
    parser.add_argument("--data", help="source of the example clips; default: the run's validation clips")
    parser.add_argument("--num_clips", type=int, default=6, help="how many example clips")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    arguments = parser.parse_args(argv)
    encoder = load_encoder(arguments.workdir, arguments.which)
    specification = arguments.data or encoder.config.data.validation
    examples = []
    if specification and (arguments.data or not is_missing(specification)):
        examples = held_out(encoder, open_source(specification), arguments.num_clips)
    page = write_report(arguments.workdir, read_metrics(arguments.workdir), examples)
    print(f"report: {page.resolve().as_uri()}")
    if arguments.json:
        commands.print_json({"page": str(page), "examples": len(examples)})
    return 0


if __name__ == "__main__":
    commands.run(main)
