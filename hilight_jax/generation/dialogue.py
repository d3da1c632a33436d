"""A conversation in progress: turns, the clips that they show, and the answers as they come."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.checks import check_prompt, check_words
from hilight_jax.data.conversations.config import ConversationDataConfig
from hilight_jax.data.conversations.context_length import ConversationError
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Turn
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.key_frames import choose_key_frames
from hilight_jax.data.video import Video
from hilight_jax.generation.generator import Generator, Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import Footage, read_footage


class Reply(NamedTuple):
    """An answer and all that it answers.

    Attributes:
      question: The words of the last turn.
      text: The answer.
      ids: int32 [n], its tokens.
      finish_reason: Why it ended.
      prompt: What the model read.
      clips: The clips of the whole conversation, in the order of their rows.
      remembered: Whether the conversation goes on from it.
    """

    question: str
    text: str
    ids: Int[np.ndarray, " n"]
    finish_reason: str
    prompt: Prompt
    clips: tuple[Footage, ...]
    remembered: bool


class Dialogue:
    """A conversation with a chat model; clips can be shown at any time and belong to the question that follows.

    Nothing that fails changes it: the same question can be asked again, otherwise put.

    Attributes:
      turns: What was said so far, with a ``<video>`` mark for each clip.
      clips: The clips that were shown so far, those of the next question included.
    """

    def __init__(self, generator: Generator, data: ConversationDataConfig, sampling: SamplingConfig):
        """Starts with nothing said.

        Args:
          generator: The model.
          data: How it was shown clips in training.
          sampling: How it speaks.
        """
        self._generator, self._data, self._sampling = generator, data, sampling
        self.reset()

    def reset(self) -> None:
        """Forgets what was said and shown."""
        self.turns: list[Turn] = []
        self.clips: list[Footage] = []
        self._num_waiting = 0

    def show(self, video: Video) -> Footage:
        """Reads a video that the next question is about.

        Raises:
          DataError: It cannot be decoded.
        """
        clip = read_footage(video, self._data.num_frames, self._data.image_size)
        self.clips.append(clip)
        self._num_waiting += 1
        return clip

    def say(self, role: str, text: str) -> None:
        """Adds a turn whose text is known; clips that wait are a user's.

        A text without ``<video>`` marks shows them first; marks put them elsewhere and must then be as many.
        """
        if role == "user":
            if VIDEO_MARK not in text:
                text = f"{VIDEO_MARK}\n" * self._num_waiting + text
            self._num_waiting = 0
        self.turns.append(Turn(role, text))

    def ask(self, question: str, on_text: Callable[[str], None] | None = None) -> Reply:
        """Asks, and remembers question and answer, unless the answer is empty or could not be read again.

        Args:
          question: Any text.
          on_text: Is called with every further piece of the answer.

        Raises:
          DataError: The conversation with this question cannot be answered, too long among other reasons.
        """
        turns, waiting = list(self.turns), self._num_waiting
        try:
            self.say("user", question)
            reply = self._answer(question, on_text)
            if reply.remembered:
                self.say("model", reply.text)
                turns, waiting = self.turns, 0
        finally:
            self.turns, self._num_waiting = turns, waiting
        return reply

    def _answer(self, question: str, on_text: Callable[[str], None] | None) -> Reply:
        data, tokenizer = self._data, self._generator.tokenizer
        sizes = (data.num_video_tokens, data.max_length, self._sampling.max_new_tokens)
        try:
            check_prompt(self.turns, len(self.clips), tokenizer, *sizes)
        except ConversationError as error:
            raise DataError(f"the conversation cannot be answered: {error}") from error
        ids = expand(prompt_ids(self.turns, tokenizer), None, data.num_video_tokens)[0]
        features = tuple(
            self._generator.encode_clip(clip.frames, choose_key_frames(data.key_frames, clip.frames))
            for clip in self.clips
        )
        prompt = Prompt(ids, features)
        (answer,) = self._generator.generate([prompt], self._sampling, _first_row(on_text), reuse_prefix=True)
        kept = _can_be_read(answer.text)
        return Reply(question, answer.text, answer.ids, answer.finish_reason, prompt, tuple(self.clips), kept)


def _can_be_read(answer: str) -> bool:
    """Whether an answer can stand in the prompt of the next question: it has words, and spells no mark or control."""
    try:
        check_words([Turn("model", answer)])
    except ConversationError:
        return False
    return bool(answer.strip())


def _first_row(on_text: Callable[[str], None] | None) -> Callable[[int, str], None] | None:
    """Pieces of the only prompt's answer."""
    return None if on_text is None else lambda row, text: on_text(text)
