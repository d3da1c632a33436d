"""What the input of a run is made of."""

import dataclasses

from hilight_jax.core.errors import ConfigError, nearest
from hilight_jax.data.frame_sampling import SAMPLINGS
from hilight_jax.data.language_mask import LANGUAGE_MASKS


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Sources and how their records become arrays.

    Attributes:
      train: Source of the training clips (see ``data/sources.py``).
      validation: Held-out clips.
      unseen: Held-out clips from cameras and of cloths that training never shows.
      num_frames: F, frames of a clip.
      image_size: Rows and columns of a frame.
      text_length: L, tokens of a text, start and end included; longer texts are cut.
      language_mask: Tokens of the local loss: ``none``, ``padding`` or ``content``.
      sampling: Frames of a training clip: ``uniform`` or ``jittered``; evaluation is always uniform.
      frame_captions: Also give one frame of each clip with its own caption.
      num_workers: Worker processes; 0 decodes in threads of this process.
      num_threads: Decoding threads, in each worker if there are any.
      read_ahead: Batches made ready in advance, by each worker if there are any.
      max_bad_fraction: Share of clips that may be replaced because they cannot be used, before training stops.
      quarantine: A list of clips to leave out, written by ``python -m hilight_jax.check``.
    """

    train: str = ""
    validation: str = ""
    unseen: str = ""
    num_frames: int = 12
    image_size: int = 224
    text_length: int = 77
    language_mask: str = "content"
    sampling: str = "uniform"
    frame_captions: bool = False
    num_workers: int = 0
    num_threads: int = 2
    read_ahead: int = 2
    max_bad_fraction: float = 0.05
    quarantine: str = ""

    def __post_init__(self):
        """Checks every value."""
        lowest = {
            "num_frames": 1,
            "image_size": 1,
            "text_length": 3,
            "num_workers": 0,
            "num_threads": 1,
            "read_ahead": 1,
        }
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ConfigError(f"config.data.{name} is {getattr(self, name)}, but must be at least {low}.")
        for name, allowed in (("language_mask", LANGUAGE_MASKS), ("sampling", SAMPLINGS)):
            value = getattr(self, name)
            if value not in allowed:
                hint = nearest(value, allowed)
                raise ConfigError(f"config.data.{name} is '{value}', but must be one of {', '.join(allowed)}.{hint}")
        if not 0 <= self.max_bad_fraction <= 1:
            raise ConfigError(f"config.data.max_bad_fraction is {self.max_bad_fraction}, but must lie between 0 and 1.")
