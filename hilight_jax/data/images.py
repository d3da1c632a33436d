"""Loads single frames with a long and a short text, the input of Long-CLIP's training.

A record with a frame caption gives that frame and that caption; any other record gives one of its captions and one of
its frames (an image is a video of one). The short text is the caption's first sentence, as in Long-CLIP's
``train/sharegpt4v.py``: long captions begin with a summary.
"""

import dataclasses

import numpy as np

from hilight_jax.data import transforms, video
from hilight_jax.data.clips import Batch, ClipLoader, TextError, captioned_frame
from hilight_jax.data.config import InputConfig
from hilight_jax.data.frame_sampling import middle_index
from hilight_jax.data.records import Caption, Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDataConfig(InputConfig):
    """Images with a text.

    Attributes:
      text_length: L, tokens of a text, start and end included; longer texts are cut.
    """

    text_length: int = 248


class ImageTextLoader(ClipLoader):
    """Makes batches of images and texts from the numbers of records; can be sent to worker processes.

    A batch holds ``image`` uint8 [B, Y, X, C]; ``long_ids`` and ``short_ids`` int32 [B, L]; ``index`` int64, ``valid``,
    ``replaced`` and ``truncated`` (the long text was cut) bool, all [B]. Records that cannot be used are treated as
    ``ClipLoader`` treats them.
    """

    def _empty_batch(self, size: int) -> Batch:
        side, length = self._config.image_size, self._config.text_length
        return {
            "image": np.zeros((size, side, side, 3), np.uint8),
            "long_ids": np.zeros((size, length), np.int32),
            "short_ids": np.zeros((size, length), np.int32),
            "truncated": np.zeros(size, bool),
            "index": np.full(size, -1, np.int64),
            "valid": np.zeros(size, bool),
            "replaced": np.zeros(size, bool),
        }

    def _fill_usable(self, batch: Batch, row: int, record: Record, rng: np.random.Generator | None) -> None:
        """Fills a row; without an ``rng`` a record that captions no frame gives its first caption and middle frame."""
        if record.frame_caption is not None and record.frame_caption.caption.text.strip():
            caption = record.frame_caption.caption

            def choose(num_total: int) -> int:
                return captioned_frame(record, num_total)
        else:
            captions = [caption for caption in record.captions if caption.text.strip()]
            if not captions:
                raise TextError("it has no text that is not empty.")
            caption = captions[0 if rng is None else int(rng.integers(len(captions)))]

            def choose(num_total: int) -> int:
                return middle_index(num_total) if rng is None else int(rng.integers(num_total))

        frames = video.decode(record.video, lambda num_total: [choose(num_total)])
        side = self._config.image_size
        batch["image"][row] = transforms.to_uint8_size(frames, (side, side))[0]
        self._fill_text(batch, row, caption)

    def _fill_text(self, batch: Batch, row: int, caption: Caption) -> None:
        long, short = (self._tokenizer(text) for text in (caption.text, first_sentence(caption.text)))
        batch["long_ids"][row], batch["short_ids"][row] = long.ids, short.ids
        batch["truncated"][row] = long.truncated


def first_sentence(text: str) -> str:
    """Returns the text before the first full stop that a space or line break follows; Long-CLIP's rule."""
    return text.replace("\n", " ").split(". ")[0]
