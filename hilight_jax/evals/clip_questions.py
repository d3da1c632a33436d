"""Questions about clips: read from a source of conversations with their encoded clips, and asked in batches."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.clip_questions import FOLLOW_UP
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Conversation, Turn
from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.evals.answer_scores import Answered
from hilight_jax.evals.calibration import TEMPERATURES
from hilight_jax.evals.known_answers import Question, questions_of
from hilight_jax.generation.clip_features import ClipFeatures
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import ClipInput, Prompt, encode_turns
from hilight_jax.generation.sampling import SamplingConfig

_LONGEST = 16384  # Tokens of a conversation that can be read.


class ClipQuestion(NamedTuple):
    """A question to ask, with its conversation and the clips that are shown before it."""

    index: int  # of the conversation
    turn: int  # of its turns, the user's
    conversation: Conversation
    question: Question
    clips: tuple[ClipFeatures, ...]
    root: int  # the turn of the question that it follows, directly or through others; its own if it follows none

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
    first_frame_ticket: int | None = None

    def answered(self, answer: str, heard: bool | None = None, controls: dict[str, str] | None = None) -> Answered:
        """The question with its answers."""
        clip, (words, truth, kind, note) = "+".join(digest[:12] for digest in self.digests), self.question
        given = (answer, heard, controls or {}, note.wording, note.accepted)
        return Answered(self.id, self.index, clip, kind, words, truth, *given)


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
          ConversationError: it cannot be asked; among other reasons it is too long with its longest answer.
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
        if self._history:
            turns = list(row.conversation.turns[: row.turn + 1])
            if turns[0].role == "model":  # The template drops it.
                turns = turns[1:]
        else:  # The question alone, or after the one that it follows, with all clips before them.
            turns = [said._replace(text=_words(said)) for said in row.conversation.turns[row.root : row.turn + 1]]
            turns[0] = Turn("user", f"{VIDEO_MARK}\n" * len(row.clips) + turns[0].text)
        room = self._sampling.max_new_tokens
        return Prompt(encode_turns(turns, len(row.clips), self._generator.tokenizer, self._data, room), row.clips)

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
    first_frames: tuple[ClipFeatures, ...] = ()  # each clip's first frame in the place of all, where asked for
    inputs: tuple[ClipInput, ...] = ()  # what the clips were encoded from


def read_conversations(
    generator: Generator,
    source: ConversationSource,
    data: ConversationDataConfig,
    count: int,
    batch_size: int,
    wanted: Callable[[Question], bool] = lambda question: True,
    still: Callable[[Question], bool] = lambda question: False,
) -> Iterator[ReadConversation]:
    """Yields the first ``count`` conversations of a source in order, each question with the clips before it.

    Args:
      generator: Encodes the clips.
      source: The conversations.
      data: How they are read.
      count: Conversations to read.
      batch_size: Conversations to decode at a time.
      wanted: Returns True for the questions to yield, called once for each, in order. A conversation with questions of
        which none is wanted has its clips not encoded.
      still: Returns True for a wanted question that needs ``first_frames``.
    """
    # Each question is asked by itself, so all of them together may be longer than the model's context.
    data = dataclasses.replace(data, max_length=_LONGEST, buckets=(_LONGEST,))
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
                found = questions_of(conversation)
                chosen = [pair for pair in found if wanted(pair[1])]
                if found and not chosen:
                    yield ReadConversation(conversation.id, (), [])
                    continue
                # A second clip that no wanted question shows is not encoded.
                num_clips = max((_shown(conversation, turn) for turn, _ in chosen), default=len(conversation.videos))
                videos, key_frames = (
                    batch[name][row][batch["video_mask"][row]][:num_clips] for name in ("video", "key_frames")
                )
                inputs = tuple(map(ClipInput, videos, key_frames))
                clips = tuple(generator.encode_clip(*given) for given in inputs)
                first = ()
                if any(still(question) for _, question in chosen):
                    repeated = (np.repeat(video[:1], len(video), axis=0) for video in videos)
                    first = tuple(map(generator.encode_clip, repeated, key_frames))
                questions = _questions(index, conversation, chosen, clips)
                yield ReadConversation(conversation.id, clips, questions, first, inputs)


def _questions(
    index: int, conversation: Conversation, chosen: list[tuple[int, Question]], clips: tuple[ClipFeatures, ...]
) -> list[ClipQuestion]:
    roots, root = {}, 0
    for turn, question in questions_of(conversation):
        root = root if question.type == FOLLOW_UP and roots else turn
        roots[turn] = root
    found = []
    for turn, question in chosen:
        shown = clips[: _shown(conversation, turn)]
        found.append(ClipQuestion(index, turn, conversation, question, shown, roots[turn]))
    return found


def _shown(conversation: Conversation, turn: int) -> int:
    """Returns the number of clips that are shown up to a turn."""
    return sum(said.text.count(VIDEO_MARK) for said in conversation.turns[: turn + 1])


def _words(turn: Turn) -> str:
    """Returns the text of a turn without marks of clips."""
    return turn.text.replace(VIDEO_MARK, "").strip()
