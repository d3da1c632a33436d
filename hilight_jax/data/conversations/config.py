"""The configuration of conversations: sources, sizes and lengths."""

import dataclasses
import itertools

from hilight_jax.core.errors import ConfigError
from hilight_jax.data.config import InputConfig
from hilight_jax.data.key_frames import KeyFrameConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversationDataConfig(InputConfig):
    """Conversations about clips.

    Attributes:
      num_frames: F, frames of a clip, always spread evenly over it.
      key_frames: The rule that chooses, of the F frames, those that the image tower encodes.
      num_video_tokens: V, tokens of one clip in the language model: key frames times tokens per frame.
      tokenizer: The language model's ``tokenizer.model``.
      max_length: Tokens that a conversation may have, those of its clips counted; the last of a longer one are cut.
      buckets: Lengths that batches are padded to, rising to ``max_length``; each is compiled once. Empty means
        ``max_length`` alone.
      length_group: Batches whose conversations are sorted by length among each other, so that padding is short; 1
        leaves them as they come.
      max_videos: U, clips that a conversation may have.
    """

    num_frames: int = 12
    key_frames: KeyFrameConfig = KeyFrameConfig()
    num_video_tokens: int = 384
    tokenizer: str = ""
    max_length: int = 1024
    buckets: tuple[int, ...] = ()
    length_group: int = 8
    max_videos: int = 1

    def __post_init__(self):
        """Checks every value, and sizes against each other."""
        super().__post_init__()
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
