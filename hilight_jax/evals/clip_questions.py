"""Questions about clips: read from a source of conversations with their encoded clips, and asked in batches."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Conversation, Turn
from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.evals.answer_scores import Answered
from hilight_jax.evals.calibration import TEMPERATURES
from hilight_jax.evals.known_answers import Question, questions_of
from hilight_jax.generation.clip_features import ClipFeatures
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt, encode_turns
from hilight_jax.generation.sampling import SamplingConfig


class ClipQuestion(NamedTuple):
    """A question to ask, with its conversation and the clips that are shown before it."""

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
        """The question without its clips, which need not stay in memory, and with the ticket of its answer."""
        return Asked(self.id, self.index, self.question, tuple(clip.digest for clip in self.clips), ticket)


class Asked(NamedTuple):
    """A question that waits for its answer: the digests of its clips, and the tickets of its answers."""

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
    """Builds the prompts of questions and generates their answers in batches of one size.

    Attributes:
      log_probs: By ticket, the log-probability of each answer at each of `TEMPERATURES`; complete after `texts`.
    """

    def __init__(
        self,
        generator: Generator,
        sampling: SamplingConfig,
        data: ConversationDataConfig,
        history: bool = False,
        batch_size: int = 1,
    ):
        """See `evaluate_video_qa`."""
        self._generator, self._sampling, self._data = generator, sampling, data
        self._history, self._batch_size = history, batch_size
        self._waiting: list[Prompt] = []
        self._texts: list[str] = []
        self.log_probs: list[np.ndarray] = []

    def ask(self, row: ClipQuestion) -> int:
        """Queues a question about its clips and returns the ticket of the answer.

        Raises:
          ConversationError: it cannot be asked, too long among other reasons.
        """
        self._waiting.append(self.prompt(row))
        ticket = len(self._texts) + len(self._waiting) - 1
        if len(self._waiting) == self._batch_size:
            self._flush()
        return ticket

    def texts(self) -> list[str]:
        """All answers, by ticket."""
        if self._waiting:
            self._flush()
        return self._texts

    def prompt(self, row: ClipQuestion) -> Prompt:
        """Builds a question's prompt, or raises as `ask` does."""
        turns = [Turn("user", f"{VIDEO_MARK}\n" * len(row.clips) + row.question.text)]
        if self._history:
            turns = list(row.conversation.turns[: row.turn + 1])
            if turns[0].role == "model":  # The template drops it.
                turns = turns[1:]
        return Prompt(encode_turns(turns, len(row.clips), self._generator.tokenizer, self._data), row.clips)

    def _flush(self) -> None:
        count = len(self._waiting)
        if self._texts:  # The last batch gets the shape of those before it, which is compiled already.
            self._waiting += self._waiting[-1:] * (self._batch_size - count)
        answers = self._generator.generate(self._waiting, self._sampling, temperatures=TEMPERATURES)[:count]
        self._texts += [answer.text for answer in answers]
        self.log_probs += [answer.at_temperatures for answer in answers]
        self._waiting = []


class ReadConversation(NamedTuple):
    """A conversation that was read: its encoded clips, None where they cannot be used, and its questions."""

    id: str
    clips: tuple[ClipFeatures, ...] | None
    questions: list[ClipQuestion]


def read_conversations(
    generator: Generator, source: ConversationSource, data: ConversationDataConfig, count: int, batch_size: int
) -> Iterator[ReadConversation]:
    """Yields the first ``count`` conversations of a source in order, each question with the clips before it."""
    pipeline = Pipeline(data, source, ConversationLoader(data, source, seed=0))
    with pipeline.eval_batches(batch_size) as batches:
        for batch in itertools.islice(batches, -(-count // batch_size)):
            for row in range(len(batch["index"])):
                if not 0 <= (index := int(batch["index"][row])) < count:
                    continue
                conversation = source.conversation(index, None)
                if not batch["valid"][row]:
                    yield ReadConversation(conversation.id, None, [])
                    continue
                videos, key_frames = (batch[name][row][batch["video_mask"][row]] for name in ("video", "key_frames"))
                clips = tuple(map(generator.encode_clip, videos, key_frames))
                yield ReadConversation(conversation.id, clips, _questions(index, conversation, clips))


def _questions(index: int, conversation: Conversation, clips: tuple[ClipFeatures, ...]) -> list[ClipQuestion]:
    found = []
    for turn, question in questions_of(conversation):
        shown = sum(said.text.count(VIDEO_MARK) for said in conversation.turns[: turn + 1])
        found.append(ClipQuestion(index, turn, conversation, question, clips[:shown]))
    return found
