"""Asks a chat model every question of a held-out source, and again with another clip in the place of its own.

Each question is asked by itself, all clips so far first, so that no earlier answer gives it away. (`history` puts the
earlier turns of the conversation with their true answers before it instead, for data whose later questions refer to
earlier ones.) The other clip is the one before it in the source, the first one's being the last: fixed, and never one
of the question's own. Rows stream by; of all clips only a few stay in memory.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import Progress
from hilight_jax.data.conversation import VIDEO_MARK, Conversation, Turn
from hilight_jax.data.conversation_config import ConversationDataConfig
from hilight_jax.data.conversation_loader import ConversationLoader
from hilight_jax.data.conversation_sources import ConversationSource
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.data.prompts import expand, prompt_ids
from hilight_jax.evals.answer_queue import AnswerQueue
from hilight_jax.evals.answer_scores import Answered, summarise_answers
from hilight_jax.evals.known_answers import KnownAnswers, Question, questions_of
from hilight_jax.evals.other_clips import OtherClips
from hilight_jax.serving.generate import ClipFeatures, Generator, Prompt, SamplingConfig


class Asked(NamedTuple):
    """A question on its way: its conversation, the clips before it, and the tickets of its answers."""

    index: int  # of the conversation
    turn: int  # of its turns, the user's
    conversation: Conversation
    question: Question
    clips: tuple[ClipFeatures, ...]
    ticket: int = -1
    other_ticket: int | None = None

    def answered(self, answer: str, heard: bool | None = None, controls: dict[str, str] | None = None) -> Answered:
        """The question with its answers."""
        name = f"{self.conversation.id}#{self.turn}"
        kind, words, truth = self.question.type, self.question.text, self.question.truth
        return Answered(name, self.index, _digest(self.clips), kind, words, truth, answer, heard, controls or {})


class Asker:
    """Makes the prompts of questions and has them answered in batches."""

    def __init__(
        self,
        generator: Generator,
        sampling: SamplingConfig,
        data: ConversationDataConfig,
        history: bool = False,
        batch_size: int = 1,
    ):
        """See `evaluate_video_qa`."""
        self._tokenizer, self._data, self._history = generator.tokenizer, data, history
        self._queue = AnswerQueue(
            lambda prompts: [answer.text for answer in generator.generate(prompts, sampling)], batch_size
        )

    def ask(self, asked: Asked, clips: tuple[ClipFeatures, ...]) -> int:
        """Asks a question about clips, its own or others, and returns the ticket of the answer."""
        turns = [Turn("user", f"{VIDEO_MARK}\n" * len(clips) + asked.question.text)]
        if self._history:
            turns = list(asked.conversation.turns[: asked.turn + 1])
        ids, _ = expand(prompt_ids(turns, self._tokenizer), None, self._data.num_video_tokens)
        return self._queue.add(Prompt(ids, clips))

    def texts(self) -> list[str]:
        """All answers, by ticket."""
        return self._queue.texts()


def evaluate_video_qa(
    generator: Generator,
    sampling: SamplingConfig,
    source: ConversationSource,
    data: ConversationDataConfig,
    known: KnownAnswers | None = None,
    *,
    controls: bool = True,
    history: bool = False,
    batch_size: int = 16,
    num_conversations: int | None = None,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Scores a chat model's answers by kind of question, with controls; the same figures every time.

    Args:
      generator: the model.
      sampling: how it speaks; greedy for figures that are compared.
      source: held-out conversations.
      data: how clips and prompts are made.
      known: answers of the training source; by default the evaluated truths themselves, which only makes the control
        'most_frequent' harder to beat, and 'question_only' is not run.
      controls: also show the model other clips.
      history: put the earlier turns of a conversation before a question.
      batch_size: prompts per batch; does not change any answer.
      num_conversations: only the first so many.
      show_progress: a progress line on stderr.

    Returns:
      ``{'conversations', 'clips', 'questions', 'skipped': ids, 'history', 'frequent_from', 'overall', 'types',
      'yes_no', 'needs_video', 'answers': [...]}``, ready for JSON; see `summarise_answers` and `Answered`.

    Raises:
      DataError: no question is left to ask.
    """
    count = min(len(source), num_conversations or len(source))
    progress = Progress(count, "evaluate", unit="conversations") if show_progress else None
    asker, others = Asker(generator, sampling, data, history, batch_size), OtherClips(2 * data.max_videos)
    asked: list[Asked] = []
    skipped = []

    def ask_about_others(row: Asked) -> Asked:
        if not controls or not row.clips:
            return row._replace(other_ticket=row.ticket if controls else None)  # Without a clip nothing is lost.
        clips = others.instead_of(row.clips)
        return row if clips is None else row._replace(other_ticket=asker.ask(row, clips))

    for index, conversation, clips in _conversations(generator, source, data, count, batch_size):
        if clips is None:
            skipped.append(conversation.id)
        else:
            for row in _questions(index, conversation, clips):
                asked.append(ask_about_others(row._replace(ticket=asker.ask(row, row.clips))))
            others.add(clips)
        if progress:
            progress.update()
    # The first ones, before which there was no other clip yet.
    asked = [ask_about_others(row) if row.other_ticket is None else row for row in asked]
    texts = asker.texts()
    if progress:
        progress.close()
    if not asked:
        raise DataError(f"'{source.name}' has no question that can be asked; run 'python -m hilight_jax.check' on it.")
    table = known or KnownAnswers((row.question for row in asked), "the evaluated answers themselves")
    answered = []
    for row in asked:
        beside = {"most_frequent": table.most_frequent(row.question.type)}
        if known:
            beside["question_only"] = known.question_only(row.question)
        if row.other_ticket is not None:
            beside["other_clip"] = texts[row.other_ticket]
        heard = known.heard(texts[row.ticket], row.question.type) if known else None
        answered.append(row.answered(texts[row.ticket], heard, beside))
    return {
        "conversations": count - len(skipped),
        "clips": len({clip.digest for row in asked for clip in row.clips}),
        "questions": len(answered),
        "skipped": skipped,
        "history": history,
        "frequent_from": table.name,
        **summarise_answers(answered),
        "answers": [item.as_json() for item in answered],
    }


def ask_about_one_clip(
    generator: Generator,
    sampling: SamplingConfig,
    source: ConversationSource,
    data: ConversationDataConfig,
    count: int,
) -> list[Answered]:
    """Asks the first ``count`` questions about the first clip that has so many, or else the most.

    Raises:
      DataError: no question is about one clip.
    """
    best: list[Asked] = []
    with contextlib.closing(_conversations(generator, source, data, len(source), batch_size=1)) as rows:
        questions = (asked for row in rows if row[2] is not None for asked in _questions(*row) if len(asked.clips) == 1)
        for _, group in itertools.groupby(questions, lambda asked: asked.clips[0].digest):
            best = max(best, list(itertools.islice(group, count)), key=len)
            if len(best) == count:
                break
    if not best:
        raise DataError(f"'{source.name}' has no question about one clip.")
    asker = Asker(generator, sampling, data, batch_size=len(best))
    tickets = [asker.ask(row, row.clips) for row in best]
    return [row.answered(asker.texts()[ticket]) for row, ticket in zip(best, tickets, strict=True)]


def _conversations(
    generator: Generator, source: ConversationSource, data: ConversationDataConfig, count: int, batch_size: int
) -> Iterator[tuple[int, Conversation, tuple[ClipFeatures, ...] | None]]:
    """Yields (index, conversation, its encoded clips) in order; None for the clips of one that cannot be used."""
    pipeline = Pipeline(data, source, ConversationLoader(data, source, seed=0))
    with pipeline.eval_batches(batch_size) as batches:
        for batch in itertools.islice(batches, -(-count // batch_size)):
            for row in range(len(batch["index"])):
                if 0 <= (index := int(batch["index"][row])) < count:
                    clips = _encode(generator, batch, row) if batch["valid"][row] else None
                    yield index, source.conversation(index, None), clips


def _encode(generator: Generator, batch: Mapping[str, np.ndarray], row: int) -> tuple[ClipFeatures, ...]:
    clips = np.flatnonzero(batch["video_mask"][row])
    return tuple(generator.encode_clip(batch["video"][row, u], batch["key_frames"][row, u]) for u in clips)


def _questions(index: int, conversation: Conversation, clips: tuple[ClipFeatures, ...]) -> Iterator[Asked]:
    """Yields the questions of a conversation, each with the clips that were shown until then."""
    for turn, question in questions_of(conversation):
        shown = sum(said.text.count(VIDEO_MARK) for said in conversation.turns[: turn + 1])
        yield Asked(index, turn, conversation, question, clips[:shown])


def _digest(clips: tuple[ClipFeatures, ...]) -> str:
    return "+".join(clip.digest[:12] for clip in clips)
