"""What the input of the stages that learn to talk is made of."""

import dataclasses
import itertools

from hilight_jax.core.errors import ConfigError
from hilight_jax.data.key_frames import KeyFrameConfig

_LOWEST = {
    "num_frames": 1,
    "image_size": 1,
    "num_video_tokens": 1,
    "max_length": 8,
    "length_group": 1,
    "max_videos": 1,
    "num_workers": 0,
    "num_threads": 1,
    "read_ahead": 1,
}


@dataclasses.dataclass(frozen=True)
class ConversationDataConfig:
    """Sources of conversations and how they become arrays.

    Attributes:
      train: Source of the training conversations (see ``data/conversations/sources.py``).
      validation: Held-out conversations.
      unseen: Held-out conversations about clips from cameras and of cloths that training never shows.
      num_frames: F, frames of a clip, always spread evenly over it.
      image_size: Rows and columns of a frame.
      key_frames: Which of the F frames the image tower looks at.
      num_video_tokens: V, tokens of one clip in the language model: key frames times tokens per frame.
      tokenizer: The language model's ``tokenizer.model``.
      max_length: Tokens that a conversation may have, those of its clips counted; the last of a longer one are cut.
      buckets: Lengths that batches are padded to, rising to ``max_length``; each is compiled once. Empty means
        ``max_length`` alone.
      length_group: Batches whose conversations are sorted by length among each other, so that padding is short; 1
        leaves them as they come.
      max_videos: U, clips that a conversation may have.
      num_workers: Worker processes; 0 decodes in threads of this process.
      num_threads: Decoding threads, in each worker if there are any.
      read_ahead: Batches made ready in advance, by each worker if there are any.
      max_bad_fraction: Share of conversations that may be replaced because they cannot be used, before training stops.
      quarantine: A list of conversations to leave out, written by ``python -m hilight_jax.check``.
    """

    train: str = ""
    validation: str = ""
    unseen: str = ""
    num_frames: int = 12
    image_size: int = 224
    key_frames: KeyFrameConfig = KeyFrameConfig()
    num_video_tokens: int = 384
    tokenizer: str = ""
    max_length: int = 1024
    buckets: tuple[int, ...] = ()
    length_group: int = 8
    max_videos: int = 1
    num_workers: int = 0
    num_threads: int = 2
    read_ahead: int = 2
    max_bad_fraction: float = 0.05
    quarantine: str = ""

    def __post_init__(self):
        """Checks every value, and sizes against each other."""
        for name, low in _LOWEST.items():
            if getattr(self, name) < low:
                raise ConfigError(f"config.data.{name} is {getattr(self, name)}, but must be at least {low}.")
        if not 0 <= self.max_bad_fraction <= 1:
            raise ConfigError(f"config.data.max_bad_fraction is {self.max_bad_fraction}, but must lie between 0 and 1.")
        self.key_frames.check(self.num_frames)
        if not self.buckets:
            object.__setattr__(self, "buckets", (self.max_length,))
        if self.buckets[-1] != self.max_length or any(a >= b for a, b in itertools.pairwise((0, *self.buckets))):
            raise ConfigError(
                f"config.data.buckets are {list(self.buckets)}, but must rise from at least 1 to "
                f"config.data.max_length, {self.max_length}."
            )
        if self.max_videos * self.num_video_tokens >= self.max_length:
            raise ConfigError(
                f"{self.max_videos} clips of {self.num_video_tokens} tokens leave no room for words in "
                f"config.data.max_length, {self.max_length}; raise it, or lower config.data.max_videos."
            )
