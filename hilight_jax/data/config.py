"""The configuration of a run's input: the fields that all kinds share, and those of clips, images and conversations."""

import dataclasses
import itertools

from hilight_jax.core.errors import ConfigError, nearest
from hilight_jax.data.frame_sampling import SAMPLINGS, KeyFrameConfig
from hilight_jax.data.language_mask import LANGUAGE_MASKS

_LOWEST = {
    "num_frames": 1,
    "image_size": 1,
    "text_length": 3,
    "swaps": 0,
    "num_video_tokens": 1,
    "max_length": 8,
    "length_group": 1,
    "max_videos": 1,
    "num_workers": 0,
    "num_threads": 1,
    "read_ahead": 1,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig:
    """Sources of examples and the effort of reading them.

    Attributes:
      train: Source of the training examples (see ``data/sources.py`` and ``data/conversations/sources.py``).
      validation: Held-out examples.
      unseen: Held-out examples of another kind: clips from cameras and of cloths that training never shows.
      image_size: Rows and columns of a frame; frames are resized to it without keeping their aspect.
      num_workers: Worker processes; 0 decodes in threads of this process.
      num_threads: Decoding threads, in each worker if there are any.
      read_ahead: Batches made ready in advance, by each worker if there are any.
      max_bad_fraction: Share of examples that may be replaced because they cannot be used, before training stops.
      quarantine: A list of examples to leave out, written by ``python -m hilight_jax.check``.
    """

    train: str = ""
    validation: str = ""
    unseen: str = ""
    image_size: int = 224
    num_workers: int = 0
    num_threads: int = 2
    read_ahead: int = 2
    max_bad_fraction: float = 0.05
    quarantine: str = ""

    def __post_init__(self):
        """Checks every number against its lowest value."""
        for name, low in _LOWEST.items():
            if hasattr(self, name) and getattr(self, name) < low:
                raise ConfigError(f"config.data.{name} is {getattr(self, name)}, but must be at least {low}.")
        if not 0 <= self.max_bad_fraction <= 1:
            raise ConfigError(f"config.data.max_bad_fraction is {self.max_bad_fraction}, but must lie between 0 and 1.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(InputConfig):
    """Clips with captions.

    Attributes:
      num_frames: F, frames of a clip.
      text_length: L, tokens of a text, start and end included; longer texts are cut.
      language_mask: Tokens of the local loss: ``none``, ``padding`` or ``content``.
      sampling: Frames of a training clip: ``uniform`` or ``jittered``; evaluation is always uniform.
      frame_captions: Also give one frame of each clip with its own caption.
      swaps: False captions of each clip, from its label ``swaps``, at most; 0 gives none.
    """

    num_frames: int = 12
    text_length: int = 77
    language_mask: str = "content"
    sampling: str = "uniform"
    frame_captions: bool = False
    swaps: int = 0

    def __post_init__(self):
        """Checks every value."""
        super().__post_init__()
        for name, allowed in (("language_mask", LANGUAGE_MASKS), ("sampling", SAMPLINGS)):
            value = getattr(self, name)
            if value not in allowed:
                hint = nearest(value, allowed)
                raise ConfigError(f"config.data.{name} is '{value}', but must be one of {', '.join(allowed)}.{hint}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDataConfig(InputConfig):
    """Images with a text.

    Attributes:
      text_length: L, tokens of a text, start and end included; longer texts are cut.
    """

    text_length: int = 248


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversationDataConfig(InputConfig):
    """Conversations about clips.

    Attributes:
      num_frames: F, frames of a clip, always spread evenly over it.
      key_frames: The rule that chooses, of the F frames, those that the image tower encodes.
      num_video_tokens: V, tokens of one clip in the language model: key frames times tokens per frame.
      tokenizer: The language model's ``tokenizer.model``.
      max_length: Tokens that a conversation may have, those of its clips counted; the last of a longer one are cut.
      buckets: Lengths that batches are padded to, rising to ``max_length``; each is compiled once, and once more
        where about half or more of a conversation is learned. Empty means ``max_length`` alone.
      length_group: Batches whose conversations are sorted by length among each other, so that padding is short; 1
        leaves them as they come.
      max_videos: U, clips that a conversation may have.
      things: O things that a clip of the domain may show, for the word tracks: each clip gets a row for each, and words
        of other things are found by the language mask. A thing is a name, or several that mean the same with ``|``
        between, such as ``the cue ball|the white ball``. None: no word tracks.
    """

    num_frames: int = 12
    key_frames: KeyFrameConfig = KeyFrameConfig()
    num_video_tokens: int = 384
    tokenizer: str = ""
    max_length: int = 1024
    buckets: tuple[int, ...] = ()
    length_group: int = 8
    max_videos: int = 1
    things: tuple[str, ...] | None = None

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
