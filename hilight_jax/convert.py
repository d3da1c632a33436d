"""Brings published weights in: ``python -m hilight_jax.convert FROM --to WORKDIR``.

FROM is a file or a directory: CLIP of OpenAI's or Hugging Face's, CLIP-ViP, Long-CLIP, Gemma-1, a HiLight of the
original's, or what ``export`` wrote. The kind is recognised by the names of the arrays. Every array must be used, or
carry nothing; sizes are read from the arrays and the config.json beside them. The working directory is then a run like
any other: the encoder to start from (config.init_from.workdir), a source of a chat stage (config.sources), something to
evaluate, to chat with, to export.
"""

import argparse
import dataclasses
from collections import Counter
from pathlib import Path

from hilight_jax.core import commands
from hilight_jax.core.atomic_files import read_object
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import CheckpointError, ConfigError, UserError
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.importing.hilight import ChatFiles, find_tokenizer
from hilight_jax.formats.importing.imported_model import Imported
from hilight_jax.formats.importing.kinds import KINDS, ImportOptions, describe, import_as, recognise
from hilight_jax.formats.importing.own_exports import import_exported, is_exported
from hilight_jax.formats.importing.workdirs import weight_bytes, write_run

_USE = {
    "encoder": "--config.init_from.workdir={0} with configs/encoder.py, or --config.sources.encoder={0}",
    "long_clip": "--config.init_from.workdir={0} with configs/long_clip.py, or --config.sources.long_clip={0}",
    "language_model": "--config.sources.language_model={0} with configs/align.py",
    "chat": "python -m hilight_jax.chat --checkpoint {0}",
}


def main(argv: list[str] | None = None) -> int:
    """Recognises and imports the source, writes the working directory and prints a report."""
    arguments = _parser().parse_args(argv)
    if arguments.shards < 1:
        raise UserError(f"--shards is {arguments.shards}, but must be at least 1.")
    imported, kind, tokenizer = (_import_export if is_exported(arguments.source) else _import)(arguments)
    _print_report(imported)
    size = weight_bytes(imported, arguments.dtype)
    log(f"writing {size / 1e9:.2f} GB to {arguments.to}")
    write_run(
        imported,
        arguments.to,
        dtype=arguments.dtype,
        shards=arguments.shards,
        tokenizer=tokenizer,
        options={name: str(value) for name, value in vars(arguments).items() if value not in (None, "")},
    )
    log(f"{arguments.to} holds {imported.num_parameters:,} parameters, {size / 1e9:.2f} GB of {arguments.dtype}")
    log(f"use it: {_USE[imported.stage].format(arguments.to)}")
    if arguments.json:
        commands.print_json(
            {
                "workdir": str(arguments.to),
                "kind": kind,
                "stage": imported.stage,
                "parameters": imported.num_parameters,
                "bytes": size,
                "used": imported.used,
                "left_over": dict(imported.left_over),
                "missing": [],
                "choices": list(imported.choices),
            }
        )
    return 0


def _import(arguments: argparse.Namespace) -> tuple[Imported, str, Path | None]:
    """Imports a published checkpoint: the model, its kind, and its tokenizer if it has one."""
    foreign = open_foreign(arguments.source)
    if arguments.model_config:
        given = read_object(arguments.model_config, CheckpointError, "give the config.json of the weights")
        foreign = dataclasses.replace(foreign, config=given)
    kind = arguments.kind or recognise(foreign)
    files_read = _count(len(foreign.files), "file")
    log(f"{arguments.source} is {describe(kind)}: {len(foreign.weights)} arrays in {files_read}")
    names = [field.name for field in dataclasses.fields(ChatFiles)]
    files = ChatFiles(**{name: getattr(arguments, name) for name in names})
    options = ImportOptions(arguments.stretch, arguments.transformers_rule, arguments.fp16_rounded, files)
    tokenizer = files.tokenizer or (find_tokenizer(arguments.source) if kind in ("hilight", "gemma") else None)
    return import_as(kind, foreign, options), kind, tokenizer


def _import_export(arguments: argparse.Namespace) -> tuple[Imported, str, Path | None]:
    """Imports an export of this package: the model, its kind, and its tokenizer if it has one.

    Raises:
      ConfigError: An option is given that the export itself decides.
    """
    asked = ("kind", "stretch", "model_config", "transformers_rule", "fp16_rounded")
    for name in (*asked, "vision", "frames", "token_mining", "adapter"):
        if getattr(arguments, name) not in (None, "", False):
            raise ConfigError(
                f"--{name} cannot be used on '{arguments.source}', which is an export of this package and records "
                f"its own kind; leave it out."
            )
    imported = import_exported(arguments.source)
    log(f"{arguments.source} is {imported.kind}")
    tokenizer = find_tokenizer(arguments.source) if imported.stage == "chat" else None
    return imported, "exported", arguments.tokenizer or tokenizer


def _print_report(imported: Imported) -> None:
    """Prints the numbers of arrays used and left over; the import has checked that none is missing."""
    log(f"{_count(imported.used, 'array')} used, {len(imported.left_over)} left over, 0 missing")
    for reason, count in Counter(imported.left_over.values()).items():
        names = [name for name, why in imported.left_over.items() if why == reason]
        more = f" and {count - 3} more" if count > 3 else ""
        log(f"  left over: {', '.join(names[:3])}{more}: {reason}")
    for choice in imported.choices:
        log(f"  {choice}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("convert", __doc__)
    add = parser.add_argument
    add("source", type=Path, metavar="FROM", help="a file (.safetensors, .pt, .bin) or a directory")
    add("--to", type=Path, required=True, metavar="WORKDIR", help="the working directory to make; must not exist")
    add("--kind", choices=KINDS, help="what FROM is (default: recognised by its names)")
    add("--stretch", action="store_true", help="of a CLIP: make the beginning of a Long-CLIP, 248 positions")
    add("--model_config", type=Path, metavar="FILE", help="the config.json of FROM, if it does not lie beside it")
    add("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the stored weights")
    add("--shards", type=int, default=1, metavar="N", help="store large arrays in N pieces, one for each of N hosts")
    add("--transformers_rule", default="", metavar="VERSION",
        help="whose reading of a Gemma's config.json to follow (default: 4.40.0, and 4.38.0 for HiLight)")  # fmt: skip
    add("--fp16_rounded", action=argparse.BooleanOptionalAction, default=None,
        help="round Long-CLIP's weights through float16 as its loader does (default: within a HiLight)")  # fmt: skip
    hilight = parser.add_argument_group("of a HiLight", "found in model_zoo/, in FROM or beside it, when not given")
    add = hilight.add_argument
    add("--vision", type=Path, metavar="FILE", help="CLIP-ViP")
    add("--frames", type=Path, metavar="FILE", help="Long-CLIP")
    add("--token_mining", type=Path, metavar="FILE", help="token_mining.bin, instead of the connector in FROM")
    add("--adapter", type=Path, metavar="DIR", help="a LoRA adapter of PEFT's")
    add("--tokenizer", type=Path, metavar="FILE", help="Gemma's tokenizer.model")
    return parser


if __name__ == "__main__":
    commands.run(main)
