"""Asks a chat model every question of a held-out source, and again with another clip in the place of its own.

Each question is asked by itself, all clips so far first, so that no earlier answer gives it away. (`history` puts the
earlier turns of the conversation with their true answers before it instead, for data whose later questions refer to
earlier ones.) The other clip is the first one of the conversation before it in the source, the first conversation's
that of the last: fixed, and never one of the question's own. (A question about two clips takes those of two
conversations.) A question that is too long for the model is left out and named. Rows stream by; of all clips only a few
stay in memory.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import Progress
from hilight_jax.data.conversations.checks import check_prompt
from hilight_jax.data.conversations.config import ConversationDataConfig
from hilight_jax.data.conversations.context_length import ConversationError
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Conversation, Turn
from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.evals.answer_queue import AnswerQueue
from hilight_jax.evals.answer_scores import Answered, summarise_answers
from hilight_jax.evals.known_answers import KnownAnswers, Question, questions_of
from hilight_jax.evals.other_clips import OtherClips
from hilight_jax.generation.generator import ClipFeatures, Generator, Prompt, SamplingConfig


class ClipQuestion(NamedTuple):
    """A question to ask: its conversation and the clips before it."""

    index: int  # of the conversation
    turn: int  # of its turns, the user's
    conversation: Conversation
    question: Question
    clips: tuple[ClipFeatures, ...]

    @property
    def id(self) -> str:
        """Names the question within its source."""
        return f"{self.conversation.id}#{self.turn}"

    def asked(self, ticket: int) -> "Asked":
        """What is left of it once it was asked."""
        return Asked(self.id, self.index, self.question, tuple(clip.digest for clip in self.clips), ticket)


class Asked(NamedTuple):
    """A question on its way: the names of its clips, and the tickets of its answers."""

    id: str
    index: int  # of the conversation
    question: Question
    digests: tuple[str, ...]
    ticket: int
    other_ticket: int | None = None

    def answered(self, answer: str, heard: bool | None = None, controls: dict[str, str] | None = None) -> Answered:
        """The question with its answers."""
        clip, (words, truth, kind) = "+".join(digest[:12] for digest in self.digests), self.question
        return Answered(self.id, self.index, clip, kind, words, truth, answer, heard, controls or {})


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

    def ask(self, row: ClipQuestion) -> int:
        """Asks a question about its clips and returns the ticket of the answer.

        Raises:
          ConversationError: it cannot be asked, too long among other reasons.
        """
        return self._queue.add(self.prompt(row))

    def prompt(self, row: ClipQuestion) -> Prompt:
        """Makes a question's prompt, or raises as `ask` does."""
        turns = [Turn("user", f"{VIDEO_MARK}\n" * len(row.clips) + row.question.text)]
        if self._history:
            turns = list(row.conversation.turns[: row.turn + 1])
            if turns[0].role == "model":  # Which the template drops.
                turns = turns[1:]
        check_prompt(turns, len(row.clips), self._tokenizer, self._data.num_video_tokens, self._data.max_length)
        ids, _ = expand(prompt_ids(turns, self._tokenizer), None, self._data.num_video_tokens)
        return Prompt(ids, row.clips)

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
      ``{'conversations', 'clips', 'questions', 'skipped', 'history', 'frequent_from', 'overall', 'types', 'yes_no',
      'needs_video', 'answers': [...]}``, ready for JSON; see `summarise_answers` and `Answered`. 'skipped' are the ids
      of conversations that cannot be used, and "id: reason" of questions that cannot be asked.

    Raises:
      DataError: no question is left to ask.
    """
    count = min(len(source), num_conversations or len(source))
    progress = Progress(count, "evaluate", unit="conversations") if show_progress else None
    asker, others = Asker(generator, sampling, data, history, batch_size), OtherClips(2 * data.max_videos)
    asked: list[Asked] = []
    waiting: list[tuple[int, ClipQuestion]] = []  # The first ones, before which there was no other clip yet.
    skipped, num_used = [], 0

    def ask_about_others(number: int, row: ClipQuestion) -> bool:
        clips = others.instead_of(row.clips)
        if clips is not None:
            # Without a clip nothing is lost.
            ticket = asker.ask(row._replace(clips=clips)) if clips else asked[number].ticket
            asked[number] = asked[number]._replace(other_ticket=ticket)
        return clips is not None

    for index, conversation, clips in _conversations(generator, source, data, count, batch_size):
        if clips is None:
            skipped.append(conversation.id)
        else:
            num_used += 1
            for row in _questions(index, conversation, clips):
                try:
                    asked.append(row.asked(asker.ask(row)))
                except ConversationError as error:
                    skipped.append(f"{row.id}: {error}")
                    continue
                if controls and not ask_about_others(len(asked) - 1, row):
                    waiting.append((len(asked) - 1, row))
            others.add(clips[:1])
        if progress:
            progress.update()
    for number, row in waiting:
        ask_about_others(number, row)
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
        "conversations": num_used,
        "clips": len({digest for row in asked for digest in row.digests}),
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
    asker = Asker(generator, sampling, data, batch_size=count)
    best: list[ClipQuestion] = []
    with contextlib.closing(_conversations(generator, source, data, len(source), batch_size=1)) as rows:
        questions = (each for row in rows if row[2] is not None for each in _questions(*row) if len(each.clips) == 1)
        askable = (question for question in questions if _can_be_asked(asker, question))
        for _, group in itertools.groupby(askable, lambda question: question.clips[0].digest):
            best = max(best, list(itertools.islice(group, count)), key=len)
            if len(best) == count:
                break
    if not best:
        raise DataError(f"'{source.name}' has no question about one clip.")
    asked = [row.asked(asker.ask(row)) for row in best]
    return [row.answered(asker.texts()[row.ticket]) for row in asked]


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


def _questions(index: int, conversation: Conversation, clips: tuple[ClipFeatures, ...]) -> Iterator[ClipQuestion]:
    """Yields the questions of a conversation, each with the clips that were shown until then."""
    for turn, question in questions_of(conversation):
        shown = sum(said.text.count(VIDEO_MARK) for said in conversation.turns[: turn + 1])
        yield ClipQuestion(index, turn, conversation, question, clips[:shown])


def _can_be_asked(asker: Asker, question: ClipQuestion) -> bool:
    try:
        asker.prompt(question)
    except ConversationError:
        return False
    return True
