"""Prompts of a chat model: token ids and the clips that fill their video rows, built from a conversation's turns."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.checks import check_prompt
from hilight_jax.data.conversations.conversation import ConversationError, Turn
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.frame_sampling import choose_key_frames
from hilight_jax.generation.clip_features import ClipFeatures
from hilight_jax.generation.video_clip import VideoClip


class Prompt(NamedTuple):
    """A prompt that the language model can read.

    Attributes:
      ids: int32 [n], expanded: each clip's V rows carry ``VIDEO_ID``.
      clips: The clips, in the order of their rows.
    """

    ids: np.ndarray
    clips: tuple[ClipFeatures, ...] = ()

    def rows(self) -> list[int | str]:
        """A key for each row that compares prompts: the row's id, or the digest of the row's clip."""
        digests = iter([clip.digest for clip in self.clips for _ in range(len(clip.tokens))])
        return [next(digests) if i == VIDEO_ID else i for i in np.asarray(self.ids).tolist()]


class ClipInput(NamedTuple):
    """A clip as ``ClipEncoder`` takes it.

    Attributes:
      frames: [F, Y, X, C].
      key_frames: int32 [keys].
      closer: The clip with its own pictures, where it is to be looked at with a zoom.
    """

    frames: np.ndarray
    key_frames: np.ndarray
    closer: VideoClip | None = None


class UnencodedPrompt(NamedTuple):
    """A prompt whose clips are not encoded yet, which needs the model.

    Attributes:
      ids: int32 [n], expanded.
      clips: The clips, in the order of their rows.
    """

    ids: np.ndarray
    clips: tuple[ClipInput, ...] = ()

    def encode(self, encode_clip: Callable[..., ClipFeatures]) -> Prompt:
        """Encodes the clips, with ``Generator.encode_clip`` for example."""
        return Prompt(self.ids, tuple(encode_clip(*clip) for clip in self.clips))


def encode_turns(
    turns: Sequence[Turn],
    num_clips: int,
    tokenizer: GemmaTokenizer,
    data: ConversationDataConfig,
    max_new_tokens: int = 1,
) -> np.ndarray:
    """Encodes the turns of a conversation that the model is to continue: int32 [n], expanded.

    User and model alternate, a user turn last; each ``<video>`` mark stands for the next clip. ``data`` is the model's
    own configuration, and ``max_new_tokens`` the room that the answer needs in the context.

    Raises:
      ConversationError: The conversation cannot be answered; ``TooLong`` where only its length is wrong.
    """
    rows = data.num_video_tokens
    check_prompt(turns, num_clips, tokenizer, rows, data.max_length, max_new_tokens)
    return expand(prompt_ids(turns, tokenizer), None, rows)[0]


def build_prompt(
    turns: Sequence[Turn],
    clips: Sequence[np.ndarray | VideoClip],
    tokenizer: GemmaTokenizer,
    data: ConversationDataConfig,
    max_new_tokens: int = 1,
) -> UnencodedPrompt:
    """Encodes a conversation's turns as ``encode_turns`` does and chooses the key frames of its clips.

    Args:
      turns: User and model alternate, a user turn last.
      clips: Of the turns' marks: frames [F, Y, X, C], or a clip, which also has its zoom.
      tokenizer: The model's.
      data: The configuration of its conversations.
      max_new_tokens: The room that the answer needs in the context.

    Raises:
      ConversationError: The conversation cannot be answered; the sentence begins so.
    """
    try:
        ids = encode_turns(turns, len(clips), tokenizer, data, max_new_tokens)
    except ConversationError as error:
        raise type(error)(f"the conversation cannot be answered: {error}") from error
    return UnencodedPrompt(ids, tuple(_input(clip, data) for clip in clips))


def _input(clip: np.ndarray | VideoClip, data: ConversationDataConfig) -> ClipInput:
    frames, closer = (clip.frames, clip) if isinstance(clip, VideoClip) else (clip, None)
    key_frames = np.asarray(choose_key_frames(data.key_frames, frames), np.int32)
    return ClipInput(frames, key_frames, None if closer is None or closer.zoom == "off" else closer)
