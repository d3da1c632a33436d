"""Clips of an evaluation with the answers that it wrote down, for pictures; no model is needed."""

import itertools
from pathlib import Path

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.config import ConversationDataConfig
from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.data.manifest import read_json_lines
from hilight_jax.pages.answer_examples import AskedClips


def asked_clips(
    answers_file: Path,
    source: ConversationSource,
    data: ConversationDataConfig,
    num_conversations: int = 6,
    num_questions: int = 4,
) -> list[AskedClips]:
    """The first conversations about clips, each with its first answers.

    Args:
      answers_file: what `evaluate` wrote, one answer a line, in the order of the source.
      source: the source that was evaluated.
      data: how its clips are made, and the run's tokenizer.
      num_conversations: how many at most.
      num_questions: answers of each, at most.

    Raises:
      DataError: the file is of another source, or a clip cannot be decoded any more.
    """
    if not answers_file.is_file():
        return []
    loader = ConversationLoader(data, source, seed=0)
    about_clips = (answer for _, answer in read_json_lines(str(answers_file)) if answer["clip"])
    groups = itertools.groupby(about_clips, lambda answer: answer["index"])
    examples = []
    for index, answers in itertools.islice(groups, num_conversations):
        name, answers = source.conversation(index, None).id, list(answers)[:num_questions]
        batch = loader.eval_batch(np.array([index]))
        if not batch["valid"][0] or answers[0]["id"].rpartition("#")[0] != name:
            raise DataError(
                f"{answers_file} does not fit '{source.name}', whose conversation {index} is '{name}'; evaluate again."
            )
        examples.append(AskedClips(name, list(batch["video"][0][batch["video_mask"][0]]), answers))
    return examples
