"""Asks a chat model every question of a held-out source, and again with another clip in the place of its own.

Each question is asked by itself, after all clips shown so far and without the earlier answers; a follow-up stands after
the question that it follows and its true answer. (`history` puts all earlier turns of the conversation with their true
answers before a question instead, for data whose later questions refer to earlier ones.) The other clip is the first
one of the conversation before it in the source, the first conversation's that of the last: fixed, and never one of the
question's own. (A question about two clips takes those of two conversations.) Questions about what happens next and
what would happen if (`ABOUT_THE_FUTURE`) are asked again with the first frame in the place of all frames: a model that
answers from where balls lie, and not from how they move, is as good then. A question that does not fit into the
context of the model with its longest answer is left out and named. Rows are streamed; only a few clips stay in memory.
"""

import collections
import contextlib
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import Progress
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.conversation import ConversationError
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.evals.answer_scores import FIRST_FRAME, Answered, kinds_influences, summarise_answers
from hilight_jax.evals.calibration import calibrate
from hilight_jax.evals.clip_questions import Asked, Asker, ClipQuestion, read_conversations
from hilight_jax.evals.known_answers import KnownAnswers, Question
from hilight_jax.generation.clip_features import ClipFeatures
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.sampling import SamplingConfig

ABOUT_THE_FUTURE = ("next", "next_potted", "what_if", "what_if_potted")


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
    questions_per_kind: int | None = None,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Scores a chat model's answers by kind of question, with controls; the same figures every time.

    Figures that are compared need greedy `sampling`. The `known` answers are those of the training source, by default
    the evaluated truths, see `KnownAnswers`. With `controls` the model is also shown other clips; with `history` the
    earlier turns of a conversation stand before a question. The batch size does not change any answer. Without
    `num_conversations` all are read. With `questions_per_kind` only so many of each kind are asked, the first ones of
    the source, and only the clips that these need are encoded.

    Returns:
      ``{'conversations', 'clips', 'questions', 'skipped', 'history', 'frequent_from', 'overall', 'types', 'yes_no',
      'needs_video', 'calibration', 'influences', 'answers': [...]}``, ready for JSON; see `summarise_answers`,
      `calibrate`, `kinds_influences` and `Answered`. 'skipped' are the ids of conversations that cannot be used, and
      "id: reason" of questions that cannot be asked.

    Raises:
      DataError: no question is left to ask.
    """
    count = min(len(source), num_conversations or len(source))
    progress = Progress(count, "evaluate", unit="conversations") if show_progress else None
    asker, others = Asker(generator, sampling, data, history, batch_size), OtherClips(2 * data.max_videos)
    asked: list[Asked] = []
    waiting: list[tuple[int, ClipQuestion]] = []  # The first questions, before which there is no other clip yet.
    skipped, num_used, counts = [], 0, collections.Counter()

    def is_wanted(question: Question) -> bool:
        counts[question.type] += 1
        return questions_per_kind is None or counts[question.type] <= questions_per_kind

    def needs_first_frame(question: Question) -> bool:
        return controls and question.type in ABOUT_THE_FUTURE

    def ask_about_others(number: int, row: ClipQuestion) -> bool:
        clips = others.instead_of(row.clips)
        if clips is not None:
            # A question without clips keeps its answer.
            ticket = asker.ask(row._replace(clips=clips)) if clips else asked[number].ticket
            asked[number] = asked[number]._replace(other_ticket=ticket)
        return clips is not None

    for conversation in read_conversations(generator, source, data, count, batch_size, is_wanted, needs_first_frame):
        if conversation.clips is None:
            skipped.append(conversation.id)
        else:
            num_used += bool(conversation.questions)
            for row in conversation.questions:
                try:
                    asked.append(row.asked(asker.ask(row)))
                except ConversationError as error:
                    skipped.append(f"{row.id}: {error}")
                    continue
                if needs_first_frame(row.question):
                    ticket = asker.ask(row._replace(clips=conversation.first_frames[: len(row.clips)]))
                    asked[-1] = asked[-1]._replace(first_frame_ticket=ticket)
                if controls and not ask_about_others(len(asked) - 1, row):
                    waiting.append((len(asked) - 1, row))
            others.add(conversation.clips[:1])
        if progress:
            progress.update()
    for number, row in waiting:
        ask_about_others(number, row)
    texts = asker.texts()
    if progress:
        progress.close()
    if not asked:
        raise DataError(f"'{source.name}' has no question that can be asked; run 'python -m hilight_jax.check' on it.")
    known = known or KnownAnswers(row.question for row in asked)
    answered = []
    for row in asked:
        beside = known.controls(row.question)
        if row.other_ticket is not None:
            beside["other_clip"] = texts[row.other_ticket]
        if row.first_frame_ticket is not None:
            beside[FIRST_FRAME] = texts[row.first_frame_ticket]
        answer = texts[row.ticket]
        answered.append(row.answered(answer, known.heard(answer, row.question.type), beside))
    summary = summarise_answers(answered)
    needing = summary["needs_video"]["types"]
    return {
        "conversations": num_used,
        "clips": len({digest for row in asked for digest in row.digests}),
        "questions": len(answered),
        "skipped": skipped,
        "history": history,
        "frequent_from": known.name,
        **summary,
        "influences": {"right": kinds_influences(answered, needing)} if needing else None,
        "calibration": calibrate(
            [item.score == 1 for item in answered],
            np.stack([asker.log_probs[row.ticket] for row in asked]),
            [item.cluster for item in answered],
            [item.type for item in answered],
        ),
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
    with contextlib.closing(read_conversations(generator, source, data, len(source), batch_size=1)) as conversations:
        questions = (row for conversation in conversations for row in conversation.questions if len(row.clips) == 1)
        askable = (question for question in questions if _can_be_asked(asker, question))
        for _, group in itertools.groupby(askable, lambda question: question.clips[0].digest):
            best = max(best, list(itertools.islice(group, count)), key=len)
            if len(best) == count:
                break
    if not best:
        raise DataError(f"'{source.name}' has no question about one clip.")
    asked = [row.asked(asker.ask(row)) for row in best]
    return [row.answered(asker.texts()[row.ticket]) for row in asked]


class OtherClips:
    """The latest different clips of a source, to show in the place of a question's own."""

    def __init__(self, size: int):
        """Keeps up to ``size`` clips."""
        self._size = size
        self._kept: dict[str, ClipFeatures] = {}

    def add(self, clips: Iterable[ClipFeatures]) -> None:
        """Adds clips as the latest; equal clips have equal digests."""
        for clip in clips:
            self._kept.pop(clip.digest, None)
            self._kept[clip.digest] = clip
        for digest in list(self._kept)[: -self._size]:
            del self._kept[digest]

    def instead_of(self, clips: tuple[ClipFeatures, ...]) -> tuple[ClipFeatures, ...] | None:
        """Returns as many others, the latest first, none of them among ``clips``; None if there are not enough."""
        own = {clip.digest for clip in clips}
        others = [clip for digest, clip in reversed(self._kept.items()) if digest not in own]
        return tuple(others[: len(clips)]) if len(others) >= len(clips) else None


def _can_be_asked(asker: Asker, question: ClipQuestion) -> bool:
    try:
        asker.prompt(question)
    except ConversationError:
        return False
    return True
