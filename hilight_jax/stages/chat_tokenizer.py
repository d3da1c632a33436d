"""The tokenizer of a chat run: every workdir keeps its own copy, so that a run can be moved."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax

from hilight_jax.core.distributed import log
from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer, train_tokenizer
from hilight_jax.data.sources import open_source
from hilight_jax.stages.chat_config import ChatTrainConfig

TOKENIZER = "tokenizer.model"


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
        for question in (record.labels or {}).get("questions", []):
            yield from (question["question"], question["answer"])
