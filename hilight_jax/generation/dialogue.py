"""A conversation with a chat model, turn by turn, about clips that are shown along the way."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.core.errors import DataError
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.checks import check_words
from hilight_jax.data.conversations.conversation import VIDEO_MARK, ConversationError, Turn
from hilight_jax.data.video import Video
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt, build_prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import VideoClip, Zoom, read_video_clip


class Reply(NamedTuple):
    """An answer with its question and its prompt.

    Attributes:
      question: The text of the last turn.
      text: The answer.
      ids: int32 [n], its tokens.
      finish_reason: ``stop`` or ``length``.
      prompt: The prompt of the whole conversation.
      clips: The clips of the whole conversation, in the order of their rows.
      remembered: True if question and answer became turns of the conversation.
      log_probs: float32 [n, or n + 1 after a stop token], see ``Answer``.
    """

    question: str
    text: str
    ids: Int[np.ndarray, " n"]
    finish_reason: str
    prompt: Prompt
    clips: tuple[VideoClip, ...]
    remembered: bool
    log_probs: Float[np.ndarray, " scored"]

    @property
    def confidence(self) -> float:
        """The probability of the whole answer, its stop token included."""
        return float(np.exp(self.log_probs.sum()))


class Dialogue:
    """A conversation with a chat model; clips can be shown at any time and belong to the question that follows.

    A call that fails leaves it unchanged, so a question can be asked again in other words.

    Attributes:
      turns: The turns so far, with a ``<video>`` mark for each clip.
      clips: The clips that were shown so far, those of the next question included.
    """

    def __init__(self, generator: Generator, data: ConversationDataConfig, sampling: SamplingConfig):
        """Starts with no turns; ``data`` is the configuration that the model was trained with."""
        self._generator, self._data, self._sampling = generator, data, sampling
        self.reset()

    def reset(self) -> None:
        """Drops all turns and clips."""
        self.turns: list[Turn] = []
        self.clips: list[VideoClip] = []
        self._num_waiting = 0

    def show(self, video: Video, zoom: Zoom = "off") -> VideoClip:
        """Reads a video that the next question is about.

        Args:
          video: Its path or its bytes.
          zoom: As ``zoom.parse_zoom`` returns it: how near words and things are looked for.

        Raises:
          DataError: It cannot be decoded, or the conversation shows as many clips as the model tells apart.
        """
        self._check_room()
        clip = read_video_clip(video, self._data.num_frames, self._data.image_size, zoom)
        self.add(clip)
        return clip

    def add(self, clip: VideoClip) -> None:
        """Shows a clip that was read before; raises a ``DataError`` as ``show`` does."""
        self._check_room()
        self.clips.append(clip)
        self._num_waiting += 1

    def _check_room(self) -> None:
        tracks = self._generator.config.word_tracks
        if tracks is not None and len(self.clips) >= tracks.max_clips:
            raise DataError(
                f"a conversation with this model shows at most {tracks.max_clips} clips (model.word_tracks.max_clips); "
                f"begin a new one to show another."
            )

    def say(self, role: str, text: str) -> None:
        """Adds a turn whose text is known; a user's turn shows the clips since the last one.

        They stand before the text, or at its ``<video>`` marks, which must then be as many.
        """
        if role == "user":
            if VIDEO_MARK not in text:
                text = f"{VIDEO_MARK}\n" * self._num_waiting + text
            self._num_waiting = 0
        self.turns.append(Turn(role, text))

    def ask(self, question: str, on_text: Callable[[str], None] | None = None) -> Reply:
        """Asks, and keeps question and answer unless the answer cannot stand in a later prompt.

        ``on_text`` is called with every further piece of the answer.

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
        generator = self._generator
        built = build_prompt(self.turns, self.clips, generator.tokenizer, self._data, self._sampling.max_new_tokens)
        prompt = built.encode(generator.encode_clip)
        on_text_of_row = None if on_text is None else lambda row, text: on_text(text)
        (answer,) = generator.generate([prompt], self._sampling, on_text_of_row, reuse_prefix=True)
        kept = _fits_a_prompt(answer.text)
        shown, log_probs = tuple(self.clips), answer.log_probs
        return Reply(question, answer.text, answer.ids, answer.finish_reason, prompt, shown, kept, log_probs)


def _fits_a_prompt(answer: str) -> bool:
    """Returns True if an answer can stand in a later prompt: it has words and spells no mark or control token."""
    try:
        check_words([Turn("model", answer)])
    except ConversationError:
        return False
    return bool(answer.strip())
