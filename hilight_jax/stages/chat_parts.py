"""The parts and the tokenizer that a chat stage takes from other runs: found, checked, recorded.

Every workdir keeps its own copy of the tokenizer, so that a run can be moved.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.config import build, differences, to_dict
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import CheckpointError, ConfigError, DataError
from hilight_jax.data.conversations.clip_questions import stored_texts
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer, train_tokenizer
from hilight_jax.data.sources import open_source
from hilight_jax.runs.provenance import Origin, load_known, load_part, read_provenance, write_provenance
from hilight_jax.runs.workdir import read_values, stage_of
from hilight_jax.stages.chat_config import ChatTrainConfig

TOKENIZER = "tokenizer.model"


def gather_parts(config: ChatTrainConfig, workdir: Path) -> tuple[dict[str, Any], dict[str, Origin]]:
    """Loads every part that a run takes from others.

    A resumed run takes exactly the parts that it started with, whatever was trained since.

    Returns:
      The parameters and the origins, by part.

    Raises:
      CheckpointError: A source is missing, of another stage, or has parts of other sizes.
    """
    known = read_provenance(workdir) if has_checkpoint(workdir) else {}
    parts, origins = {}, {}
    for field, names in given_parts(config).items():
        source = getattr(config.sources, field)
        if not source:
            continue
        check_source(config, field, names)
        for part in names:
            parts[part], origins[part] = (
                load_known(part, known[part]) if part in known else load_part(source, part, config.sources.which)
            )
    return parts, origins


def given_parts(config: ChatTrainConfig) -> dict[str, tuple[str, ...]]:
    """The parts that each field of ``config.sources`` gives."""
    frames = ("frames",) if config.model.frames is not None else ()
    encoder = ("vision", *(() if frames else ("visual_projection",)))
    tracks: tuple[str, ...] = ()
    if config.model.word_tracks is not None:
        encoder, tracks = (*encoder, "text", "local"), ("word_tracks",)
    if config.stage == "tune":
        return {"align": (*encoder, *frames, "token_mining", *tracks, "gemma")}
    return {"encoder": encoder, "long_clip": frames, "language_model": ("gemma",)}


def check_source(config: ChatTrainConfig, field: str, parts: tuple[str, ...]) -> None:
    """Refuses a source of another stage, or whose parts are configured otherwise.

    Raises:
      CheckpointError: What is there, and what is needed.
    """
    source = getattr(config.sources, field)
    values = read_values(source)
    stage, model = stage_of(values), values.get("model")
    if field not in ("language_model", stage):
        raise CheckpointError(
            f"config.sources.{field} is '{source}', which is a run of the stage '{stage}'; name a run of the stage "
            f"'{field}'."
        )
    if not isinstance(model, dict):
        raise CheckpointError(
            f"config.sources.{field} is '{source}', whose config.json describes no model; restore it, or name another "
            f"run."
        )
    for part in parts:
        if part == "visual_projection":  # A matrix; its size is checked with all the others' when the model is built.
            continue
        ours, theirs = getattr(config.model, part), model.get(part)
        there = None if theirs is None else to_dict(build(type(ours), theirs, f"{source}: config.model.{part}"))
        lines = differences(there, to_dict(ours), f"config.model.{part}")
        if lines:
            raise CheckpointError(
                f"config.sources.{field} '{source}' was made with another {part}: {'; '.join(lines)} (there -> here); "
                f"set config.model.{part} to what is there, or name another run."
            )


def keep_provenance(workdir: Path, origins: dict[str, Origin]) -> None:
    """Records the origins of a run's parts when it starts; a resumed run has them already."""
    if not has_checkpoint(workdir):
        write_provenance(workdir, origins)


def has_checkpoint(workdir: Path) -> bool:
    """Returns True when a run can resume; until then it may start with other parts."""
    if not (workdir / "checkpoints").is_dir():
        return False
    with contextlib.closing(Store(workdir / "checkpoints", read_only=True)) as store:
        return store.latest() is not None


def keep_tokenizer(config: ChatTrainConfig, workdir: Path) -> None:
    """Puts the run's tokenizer into ``workdir``: what is there, the aligned run's, or a copy of the configured one.

    Where none is configured, the one that lies in the run of the language model is taken.

    The demo has no pretrained language model and so no vocabulary to keep to: it trains a small SentencePiece with
    Gemma's layout on its own commentary and questions.

    Raises:
      DataError: No tokenizer is named, or it is none of Gemma's layout.
      ConfigError: It has more tokens than the language model.
    """
    path = workdir / TOKENIZER
    if path.is_file() or jax.process_index():
        return
    workdir.mkdir(parents=True, exist_ok=True)
    partial = workdir / f"{TOKENIZER}.partial"
    if config.stage == "tune":
        shutil.copyfile(Path(config.sources.align) / TOKENIZER, partial)
    elif given := config.data.tokenizer or _of_language_model(config):
        check_size(config, given)
        shutil.copyfile(given, partial)
    elif config.generate_missing:
        log(f"training a tokenizer of at most {config.model.gemma.vocab_size} tokens on the commentary")
        train_tokenizer(list(_texts(config)), config.model.gemma.vocab_size, str(partial))
    else:
        raise DataError(
            "config.data.tokenizer names no file, and none lies beside the language model; give its tokenizer.model, "
            "e.g. --config.data.tokenizer=gemma-2b-it/tokenizer.model."
        )
    os.replace(partial, path)


def _of_language_model(config: ChatTrainConfig) -> str:
    """The tokenizer that lies in the run of the language model, if one does."""
    source = config.sources.language_model
    return str(Path(source) / TOKENIZER) if source and (Path(source) / TOKENIZER).is_file() else ""


def check_size(config: ChatTrainConfig, path: str) -> None:
    """Refuses a tokenizer that is not the language model's; Gemma pads its 256,000 tokens to at most 128 more rows.

    Raises:
      DataError: The file is missing, or no tokenizer of Gemma's layout.
      ConfigError: It has another number of tokens than the language model.
    """
    size, rows = GemmaTokenizer(path).vocab_size, config.model.gemma.vocab_size
    fewest = rows - 128 if config.sources.language_model else 0
    if not fewest <= size <= rows:
        raise ConfigError(
            f"config.data.tokenizer '{path}' has {size} tokens, but the language model has {rows} "
            f"(config.model.gemma.vocab_size); name the tokenizer of this language model."
        )


def _texts(config: ChatTrainConfig) -> Iterator[str]:
    """All commentary, questions and answers of the training clips."""
    source = open_source(f"tfds:{config.data.train.partition(':')[2].partition(',')[0]}")
    for index in range(len(source)):
        record = source[index]
        yield from (caption.text for caption in record.captions)
        yield from stored_texts(record.labels or {})
