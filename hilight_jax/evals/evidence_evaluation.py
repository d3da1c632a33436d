"""Measures whether a chat model's evidence is faithful, on questions that name balls whose places are known.

Each question is answered and its answer traced back to the clip (`generation/evidence.py`), and once more about another
clip. Then patches are hidden and the question is asked again; see `evidence_scores.py`. An answer has changed when it
is another text and would not be right if the first one were the truth (`answer_matching.score`): upper case is no
change, nor is a point that lies a little further on.
"""

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from hilight_jax.core.distributed import log
from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import Progress
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.clip_questions import FOLLOW_UP
from hilight_jax.data.conversations.conversation import ConversationError
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.evals.answer_matching import score
from hilight_jax.evals.asked_balls import BALL, NOT_ABOUT_BALLS, BallNames, patches_on_balls
from hilight_jax.evals.clip_questions import Asker, ClipQuestion, read_conversations
from hilight_jax.evals.evidence_scores import (
    MIN_HIDDEN,
    STRONGEST,
    ScoredEvidence,
    hide_patches,
    patches_to_hide,
    share_on,
    summarise_evidence,
)
from hilight_jax.evals.grounding import Grid
from hilight_jax.evals.known_answers import Question
from hilight_jax.evals.named_words import known_things
from hilight_jax.evals.video_qa import OtherClips
from hilight_jax.generation.clip_features import ClipFeatures
from hilight_jax.generation.evidence import trace_answer
from hilight_jax.generation.generator import Answer, Generator
from hilight_jax.generation.prompt import ClipInput, Prompt
from hilight_jax.generation.sampling import SamplingConfig


class _Case(NamedTuple):
    """A question to measure: its prompts, and in all F frames of its clips the patches on balls.

    ``shown`` marks the frames of the clips that show an asked-about ball.
    """

    row: ClipQuestion
    inputs: tuple[ClipInput, ...]
    prompt: Prompt
    other_prompt: Prompt | None  # with other clips
    on: Bool[np.ndarray, "F P"]
    on_others: Bool[np.ndarray, "F P"]
    shown: Bool[np.ndarray, " F"]

    def share(self, maps: Float[np.ndarray, "F P"]) -> float:
        """The share of evidence on the asked-about balls, within the clips that show one."""
        return share_on(maps[self.shown], self.on[self.shown])


def evaluate_evidence(
    generator: Generator,
    sampling: SamplingConfig,
    source: ConversationSource,
    data: ConversationDataConfig,
    questions_per_kind: int,
    *,
    history: bool = False,
    batch_size: int = 16,
    num_conversations: int | None = None,
    show_progress: bool = False,
) -> dict[str, Any] | None:
    """Measures the evidence of the first ``questions_per_kind`` questions of each kind that can be measured.

    A question can be when it or its true answer, or the question that it follows, names a ball that is seen in one of
    its clips. The other arguments are those of `evaluate_video_qa`; the figures are the same every time.

    Returns:
      ``{'questions', 'clips', 'per_kind', 'min_hidden', 'skipped', 'overall', 'types'}``, ready for JSON; see
      `summarise_evidence`. 'skipped' are "id: reason" of questions that cannot be asked or got an empty answer.
      None, with a line on stderr, where every question was skipped.

    Raises:
      DataError: no question can be measured; none was asked.
    """
    count = min(len(source), num_conversations or len(source))
    names = BallNames(labels for number in range(count) for labels in source.conversation(number, None).labels)
    if not names:
        raise _without_balls(source)
    progress = Progress(count, "evidence", unit="conversations") if show_progress else None
    meter = _Meter(generator, sampling, data, names, history, batch_size)
    others, counts = OtherClips(2 * data.max_videos), collections.Counter()
    cases: list[_Case] = []
    skipped: list[str] = []
    scored: list[ScoredEvidence] = []

    def is_wanted(question: Question) -> bool:
        if counts[question.type] >= questions_per_kind or question.type in NOT_ABOUT_BALLS:
            return False
        return question.type == FOLLOW_UP or bool(names(f"{question.text}\n{question.truth}"))

    for conversation in read_conversations(generator, source, data, count, batch_size, is_wanted):
        for row in conversation.questions:
            if counts[row.question.type] < questions_per_kind:
                try:
                    case = meter.case(row, conversation.inputs, others.instead_of(row.clips))
                except ConversationError as error:
                    skipped.append(f"{row.id}: {error}")
                    continue
                if case is not None:
                    counts[row.question.type] += 1
                    cases.append(case)
        while len(cases) >= batch_size:
            scored += meter.measure(cases[:batch_size], skipped)
            del cases[:batch_size]
        others.add((conversation.clips or ())[:1])
        if progress:
            progress.update()
    if cases:
        scored += meter.measure(cases, skipped)
    if progress:
        progress.close()
    if not scored and not skipped:
        raise _without_balls(source)
    if not scored:
        log(
            f"the evidence of '{source.name}' is left out, as none of its {len(skipped)} questions could be measured "
            f"({skipped[0]})."
        )
        return None
    return {
        "questions": len(scored),
        "clips": len({item.clip for item in scored}),
        "per_kind": questions_per_kind,
        "min_hidden": MIN_HIDDEN,
        "skipped": skipped,
        **summarise_evidence(scored),
    }


def _without_balls(source: ConversationSource) -> DataError:
    return DataError(
        f"'{source.name}' has no question that names a ball whose place is known, so evidence cannot be measured; "
        "leave --evidence out, or name clips that 'python -m hilight_jax.generate' wrote."
    )


class _Meter:
    """Measures the evidence of questions, a batch at a time."""

    def __init__(
        self,
        generator: Generator,
        sampling: SamplingConfig,
        data: ConversationDataConfig,
        names: BallNames,
        history: bool,
        batch_size: int,
    ):
        vision = generator.config.vision
        side = vision.image_size // vision.patch_size
        self._grid = Grid(side, side, vision.patch_size)
        self._generator, self._sampling, self._names, self._batch_size = generator, sampling, names, batch_size
        self._build = Asker(generator, sampling, data, history).prompt

    def case(
        self, row: ClipQuestion, inputs: tuple[ClipInput, ...], others: tuple[ClipFeatures, ...] | None
    ) -> _Case | None:
        """Prepares a question; None if it is about no ball that is seen.

        Raises:
          ConversationError: it cannot be asked.
        """
        said = row.conversation.turns[row.root : row.turn + 2]  # It, the one that it follows, and the true answers.
        asked = self._names("\n".join(turn.text for turn in said))
        on, on_others = [], []
        for clip, labels in zip(inputs, row.conversation.labels[: len(row.clips)], strict=False):
            things = known_things(labels, len(clip.frames), self._grid.width)
            rest = {name for name in things if name.startswith(f"{BALL}:")} - asked
            for patches, balls in ((on, asked), (on_others, rest)):
                patches.append(patches_on_balls(balls, things, self._grid, len(clip.frames)))
        if not any(patches.any() for patches in on):
            return None
        other = None if others is None else self._build(row._replace(clips=others))
        shown = [np.full(len(patches), patches.any()) for patches in on]
        return _Case(row, inputs[: len(on)], self._build(row), other, *map(np.concatenate, (on, on_others, shown)))

    def measure(self, cases: Sequence[_Case], skipped: list[str]) -> list[ScoredEvidence]:
        """Measures questions; adds those with an empty answer to ``skipped``."""
        pairs = list(zip(cases, self._answer([case.prompt for case in cases]), strict=True))
        skipped += [f"{case.row.id}: its answer is empty" for case, answer in pairs if not len(answer.ids)]
        pairs = [(case, answer) for case, answer in pairs if len(answer.ids)]
        maps = [self._maps(case.prompt, answer) for case, answer in pairs]
        hidden = [
            patches_to_hide(own, case.on, case.on_others, np.random.default_rng((case.row.index, case.row.turn)))
            for (case, _), own in zip(pairs, maps, strict=True)
        ]
        prompts = [
            self._prompt_without(case, patches)
            for (case, _), ways in zip(pairs, hidden, strict=True)
            for patches in ways.values()
        ]
        again = iter(self._answer(prompts))
        elsewhere = self._shares_elsewhere([case for case, _ in pairs])
        return [
            ScoredEvidence(
                kind=case.row.question.type,
                clip=case.row.clips[0].digest,
                share=case.share(own),
                area=float(case.on[case.shown].mean()),
                other_clip=other,
                num_hidden=int(ways[STRONGEST][0].sum()),
                changed={way: _has_changed(next(again).text, answer.text, case.row.question.type) for way in ways},
            )
            for (case, answer), own, ways, other in zip(pairs, maps, hidden, elsewhere, strict=True)
        ]

    def _shares_elsewhere(self, cases: Sequence[_Case]) -> list[float | None]:
        """The shares on the same patches when other clips are shown; None where none are, or the answer is empty."""
        prompts = [case.other_prompt for case in cases if case.other_prompt is not None]
        answers = iter(self._answer(prompts))
        shares: list[float | None] = []
        for case in cases:
            answer = None if case.other_prompt is None else next(answers)
            if case.other_prompt is None or answer is None or not len(answer.ids):
                shares.append(None)
            else:
                shares.append(case.share(self._maps(case.other_prompt, answer)))
        return shares

    def _answer(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Answers prompts in batches of one size, since another one would be another program."""
        answers: list[Answer] = []
        for start in range(0, len(prompts), self._batch_size):
            part = list(prompts[start : start + self._batch_size])
            filled = part + part[-1:] * (self._batch_size - len(part))
            answers += self._generator.generate(filled, self._sampling)[: len(part)]
        return answers

    def _maps(self, prompt: Prompt, answer: Answer) -> Float[np.ndarray, "F P"]:
        """The evidence of an answer in all frames of its clips."""
        traced = trace_answer(self._generator, prompt, answer.ids)
        return np.concatenate([clip.maps.reshape(len(clip.maps), -1) for clip in traced])

    def _prompt_without(self, case: _Case, hidden: Bool[np.ndarray, "F P"]) -> Prompt:
        """The question about its clips with patches hidden."""
        clips, start = [], 0
        for frames, key_frames, _ in case.inputs:
            seen = hide_patches(frames, hidden[start : start + len(frames)], self._grid.patch_size)
            clips.append(self._generator.encode_clip(seen, key_frames))
            start += len(frames)
        return case.prompt._replace(clips=tuple(clips))


def _has_changed(text: str, first: str, kind: str) -> bool:
    """True if an answer is another text than the first one and would not be right beside it.

    The score alone is not enough: that of a malformed point against itself is 0.
    """
    return text != first and score(text, first, kind) < 1
