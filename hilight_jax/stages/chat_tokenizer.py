"""The tokenizer of a chat run: every workdir keeps its own copy, so that a run can be moved and understood."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.data.gemma_tokenizer import GemmaTokenizer, train_tokenizer
from hilight_jax.data.sources import open_source
from hilight_jax.stages.stage import say
from hilight_jax.training.chat_config import ChatTrainConfig

TOKENIZER = "tokenizer.model"


def keep_tokenizer(config: ChatTrainConfig, workdir: Path) -> None:
    """Puts the run's tokenizer into ``workdir``: the one that is there, the aligned run's, the configured one's copy.

    The demo has no pretrained language model and so no vocabulary to keep to: it trains a small SentencePiece with
    Gemma's layout on its own commentary and questions.

    Raises:
      DataError: No tokenizer is named, or it is none of Gemma's layout.
      ConfigError: It has more tokens than the language model.
    """
    path = workdir / TOKENIZER
    if not path.is_file():
        workdir.mkdir(parents=True, exist_ok=True)
        if config.stage == "tune":
            shutil.copyfile(Path(config.sources.align) / TOKENIZER, path)
        elif config.data.tokenizer:
            GemmaTokenizer(config.data.tokenizer)
            shutil.copyfile(config.data.tokenizer, path)
        elif config.generate_missing:
            say(f"training a tokenizer of at most {config.model.gemma.vocab_size} tokens on the commentary")
            train_tokenizer(list(_texts(config)), config.model.gemma.vocab_size, str(path))
        else:
            raise DataError(
                "config.data.tokenizer names no file; give the tokenizer.model of the language model, e.g. "
                "--config.data.tokenizer=gemma-2b-it/tokenizer.model."
            )
    size = GemmaTokenizer(str(path)).vocab_size
    if size > config.model.gemma.vocab_size:
        raise ConfigError(
            f"config.model.gemma.vocab_size is {config.model.gemma.vocab_size}, but the tokenizer {path} has {size} "
            f"tokens; name the tokenizer of this language model."
        )


def _texts(config: ChatTrainConfig) -> Iterator[str]:
    """All commentary, questions and answers of the training clips."""
    source = open_source(f"tfds:{config.data.train.partition(':')[2].partition(',')[0]}")
    for index in range(len(source)):
        record = source[index]
        yield from (caption.text for caption in record.captions)
        for question in (record.labels or {}).get("questions", []):
            yield from (question["question"], question["answer"])
