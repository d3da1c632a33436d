"""Takes a trained model out: ``python -m hilight_jax.export WORKDIR --format FORMAT --to DIR``.

Formats: ``hilight``, the files of HiLight's original code; ``huggingface``, a directory that transformers loads on
torch; ``stablehlo``, programs for CPU, CUDA and TPU with a loader that needs jax alone; ``encoder``, the video encoder
by itself, in CLIP-ViP's names and for transformers; ``packed``, a chat model and its encoder in one small directory,
which ``hilight_jax.load`` and ``--checkpoint`` take. WORKDIR is a run of encoder, align or tune, or what
``convert`` made.

``python -m hilight_jax.export --verify DIR`` runs an export on its fixed clip and compares it with the model that it
was made from. Exit code 1 when it differs.
"""

import argparse
from pathlib import Path

from hilight_jax.core import commands
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import UserError
from hilight_jax.formats.exporting.export import DTYPES, FORMATS, ExportOptions, export
from hilight_jax.formats.exporting.packed import find_run
from hilight_jax.formats.exporting.verification import verify

DIFFERS = 1


def main(argv: list[str] | None = None) -> int:
    """Exports, or verifies an export."""
    arguments = _parser().parse_args(argv)
    if arguments.verify:
        if arguments.workdir or arguments.format or arguments.to:
            raise UserError("--verify takes an exported directory alone; leave out WORKDIR, --format and --to.")
        return _verify(arguments.verify, arguments.json)
    for name in ("workdir", "format", "to"):
        if not getattr(arguments, name):
            raise UserError(f"{'WORKDIR' if name == 'workdir' else '--' + name} is missing; see --help.")
    options = ExportOptions(
        arguments.format,
        arguments.which,
        arguments.dtype,
        arguments.lora == "merge",
        arguments.quantize or "",
        not arguments.no_fingerprint,
    )
    record = export(find_run(arguments.workdir), arguments.to, options)
    log(f"{arguments.to}: {record['parameters']:,} parameters, {record['bytes'] / 1e9:.2f} GB; see its README.md")
    if record["fingerprint"]:
        log(f"check it: python -m hilight_jax.export --verify {arguments.to}")
    if arguments.json:
        commands.print_json({"directory": str(arguments.to), **record})
    return 0


def _verify(directory: Path, as_json: bool) -> int:
    result = verify(directory)
    for name, value in result["deviations"].items():
        unit = "tokens differ" if name.endswith("ids") else "largest difference"
        log(f"{name}: {value:.3g} {unit}")
    log(f"{directory} {'is' if result['same'] else 'IS NOT'} the model that it was exported from{result['why']}")
    if as_json:
        commands.print_json({"directory": str(directory), **result})
    return 0 if result["same"] else DIFFERS


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("export", __doc__)
    add = parser.add_argument
    add("workdir", type=Path, nargs="?", metavar="WORKDIR", help="the run to export")
    add("--format", choices=FORMATS, help="what to write")
    add("--to", type=Path, metavar="DIR", help="the directory to make; must not exist")
    add("--which", choices=("best", "latest"), default="latest", help="checkpoint (default: latest)")
    add("--dtype", choices=DTYPES, default="float32", help="of the exported weights (default: float32)")
    add("--lora", choices=("merge", "keep"), default="merge", help="add the adapter to the weights, or write it beside")
    add("--quantize", choices=("int8",), help="linear maps in 8 bits, a scale for each output channel")
    add("--no_fingerprint", action="store_true", help="do not run the model: exports what does not fit into memory")
    add("--verify", type=Path, metavar="DIR", help="check an export instead")
    return parser


if __name__ == "__main__":
    commands.run(main)
