"""Turns records into the rows of a batch: decoded frames, tokens, masks and object ids.

Everything random about a training row is drawn from (seed, epoch, index), so a row depends neither on the process and
the time at which it is made nor on the other rows.
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data import language_mask, transforms, video
from hilight_jax.data.bad_clips import NUM_STAND_INS, read_quarantine, with_stand_ins
from hilight_jax.data.config import DataConfig
from hilight_jax.data.frame_sampling import middle_index, sample_indices
from hilight_jax.data.pipelines import ALL_ROWS, Batch, Rows, empty_rows
from hilight_jax.data.records import Caption, Record, Source, object_id
from hilight_jax.data.swaps import choose_swaps, read_swaps
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.data.video import VideoError

MAX_OBJECTS = 32
_LOG = logging.getLogger(__name__)


class TextError(DataError):
    """A record has no usable text."""


class ClipLoader:
    """Makes batches from the numbers of records; can be sent to worker processes.

    A batch is a dict of arrays with B rows: ``video`` uint8 [B, F, Y, X, C]; ``text_ids`` int32, ``text_mask`` and
    ``local_mask`` bool, ``token_object`` int32, all [B, L]; ``clip_objects`` int32 [B, O]; ``index`` int64, ``valid``,
    ``replaced`` and ``truncated`` bool, all [B]; with frame captions also ``frame`` uint8 [B, 1, Y, X, C],
    ``caption_ids`` and ``caption_mask`` [B, L]; with swaps also ``swap_ids`` int32 [B, swaps, L] and ``swap_mask``
    bool [B, swaps], False where a clip has fewer.
    """

    def __init__(self, config: DataConfig, source: Source, seed: int):
        """Reads the quarantine list, if there is one."""
        self._config, self._source, self._seed = config, source, seed
        self._tokenizer = ClipTokenizer(config.text_length)
        self._quarantine = read_quarantine(config.quarantine, source.name) if config.quarantine else frozenset()
        self._reasons: dict[int, str] = {}

    def train_batch(self, places: tuple[np.ndarray, np.ndarray], rows: Rows = ALL_ROWS) -> Batch:
        """Makes ``rows`` of a batch from the places of all its rows in the endless order and their record numbers."""
        positions, indices = (numbers[rows] for numbers in places)
        batch = self._empty_batch(len(indices))
        for row, (position, index) in enumerate(zip(positions.tolist(), indices.tolist(), strict=True)):
            self._train_row(batch, row, index, epoch=position // len(self._source))
        return batch

    def eval_batch(self, indices: np.ndarray, rows: Rows = ALL_ROWS) -> Batch:
        """Makes ``rows`` of an evaluation batch: first caption, uniform frames.

        Numbers past the end and clips that cannot be used or are quarantined give rows with ``valid`` False, a black
        video and an empty text.
        """
        indices = indices[rows]
        batch = self._empty_batch(len(indices))
        for row, index in enumerate(indices.tolist()):
            if index < len(self._source):
                record = self._source[index]
                batch["index"][row] = index
                batch["valid"][row] = record.id not in self._quarantine and self._fill(batch, row, index, record)
            if not batch["valid"][row]:
                self._fill_text(batch, row, Caption(""))
        return batch

    def _empty_batch(self, size: int) -> Batch:
        """Returns ``size`` empty rows: zeros, ``index`` -1, ``valid`` False."""
        config = self._config
        frame = (config.image_size, config.image_size, 3)
        batch = {
            "video": np.zeros((size, config.num_frames, *frame), np.uint8),
            "text_ids": np.zeros((size, config.text_length), np.int32),
            "text_mask": np.zeros((size, config.text_length), bool),
            "local_mask": np.zeros((size, config.text_length), bool),
            "token_object": np.zeros((size, config.text_length), np.int32),
            "clip_objects": np.zeros((size, MAX_OBJECTS), np.int32),
            **empty_rows(size),
        }
        if config.frame_captions:
            batch["frame"] = np.zeros((size, 1, *frame), np.uint8)
            batch["caption_ids"] = np.zeros((size, config.text_length), np.int32)
            batch["caption_mask"] = np.zeros((size, config.text_length), bool)
        if config.swaps:
            batch["swap_ids"] = np.zeros((size, config.swaps, config.text_length), np.int32)
            batch["swap_mask"] = np.zeros((size, config.swaps), bool)
        return batch

    def _train_row(self, batch: Batch, row: int, index: int, epoch: int) -> None:
        """Fills a row with record ``index`` or a stand-in.

        A quarantined clip is skipped for its next stand-in, which counts as the requested clip. A clip that cannot be
        decoded is replaced too; the row keeps the clip's number in ``index`` and is marked in ``replaced``.
        """
        asked, candidate = None, index
        for candidate in with_stand_ins(index, self._seed, len(self._source)):
            record = self._source[candidate]
            if record.id in self._quarantine:
                continue
            asked = candidate if asked is None else asked
            rng = np.random.default_rng((self._seed, epoch, candidate))
            if self._fill(batch, row, candidate, record, rng):
                batch["index"][row], batch["replaced"][row], batch["valid"][row] = asked, candidate != asked, True
                return
        reason = f"the last because {self._reasons[candidate]}" if candidate in self._reasons else "all are quarantined"
        raise DataError(
            f"{self._source.name}: none of {NUM_STAND_INS + 1} clips can be used ({reason}); "
            f"run 'python -m hilight_jax.check {self._source.name}'."
        )

    def _fill(self, batch: Batch, row: int, index: int, record: Record, rng: np.random.Generator | None = None) -> bool:
        """Fills a row and returns True, or leaves the row unchanged, notes the reason, and returns False."""
        try:
            self._fill_usable(batch, row, record, rng)
        except (VideoError, TextError) as error:
            if index not in self._reasons:
                _LOG.warning("%s, clip %s cannot be used: %s", self._source.name, record.id, error)
            self._reasons[index] = str(error)
            return False
        return True

    def _fill_usable(self, batch: Batch, row: int, record: Record, rng: np.random.Generator | None) -> None:
        caption = _one_caption(record, rng)
        indices, frames = self._decode(record, rng)
        batch["video"][row] = frames[: self._config.num_frames]
        if self._config.frame_captions:
            batch["frame"][row] = frames[self._config.num_frames :]
            frame_tokens = self._tokenizer(record.frame_caption.caption.text)
            batch["caption_ids"][row], batch["caption_mask"][row] = frame_tokens.ids, frame_tokens.mask
        self._fill_text(batch, row, caption)
        if self._config.swaps:
            self._fill_swaps(batch, row, record, caption, rng)
        objects = visible_objects(record.labels, indices)
        batch["clip_objects"][row, : len(objects)] = objects

    def _decode(self, record: Record, rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of the clip's frames, and uint8 frames, the captioned one last if it is configured."""
        config = self._config
        if config.frame_captions and record.frame_caption is None:
            raise DataError(
                f"{self._source.name}, clip {record.id} has no frame caption ('caption' in a manifest), which "
                "config.data.frame_captions=true needs."
            )
        chosen = []

        def choose(num_total: int) -> list[int]:
            sampling = "uniform" if rng is None else config.sampling
            chosen.extend(sample_indices(sampling, num_total, config.num_frames, rng).tolist())
            return [*chosen, captioned_frame(record, num_total)] if config.frame_captions else chosen

        frames = video.decode(record.video, choose)
        return np.array(chosen), transforms.to_uint8_size(frames, (config.image_size, config.image_size))

    def _fill_text(self, batch: Batch, row: int, caption: Caption) -> None:
        tokens = self._tokenizer(caption.text)
        batch["text_ids"][row], batch["text_mask"][row] = tokens.ids, tokens.mask
        batch["local_mask"][row] = language_mask.local_mask(self._config.language_mask, caption, tokens)
        batch["token_object"][row] = language_mask.token_objects(caption, tokens)
        batch["truncated"][row] = tokens.truncated

    def _fill_swaps(
        self, batch: Batch, row: int, record: Record, caption: Caption, rng: np.random.Generator | None
    ) -> None:
        """Fills in false captions. One that is cut is left out, since what is left of it may be true."""
        swaps, shown = read_swaps(record, self._source.name), record.captions.index(caption)
        for place, swap in enumerate(choose_swaps(swaps, shown, self._config.swaps, rng)):
            tokens = self._tokenizer(swap.text)
            if not tokens.truncated:
                batch["swap_ids"][row, place], batch["swap_mask"][row, place] = tokens.ids, True


def _one_caption(record: Record, rng: np.random.Generator | None) -> Caption:
    """Draws one of the captions that are not empty; without an ``rng`` it is the first."""
    captions = [caption for caption in record.captions if caption.text.strip()]
    if not captions:
        raise TextError("it has no text that is not empty.")
    return captions[0 if rng is None else int(rng.integers(len(captions)))]


def visible_objects(labels: Mapping[str, Any] | None, indices: np.ndarray) -> np.ndarray:
    """Returns the ``object_id`` of every object that can be seen in one of these frames, at most ``MAX_OBJECTS``.

    ``labels`` hold ``objects``: name to ``visible``, the fraction of it that each frame shows; or are None.
    """
    objects = (labels or {}).get("objects", {})
    seen = [name for name, track in objects.items() if np.any(np.asarray(track["visible"])[indices] > 0)]
    return np.array([object_id(name) for name in seen[:MAX_OBJECTS]], np.int32)


def captioned_frame(record: Record, num_total: int) -> int:
    """Returns the number of the frame that a record's frame caption describes.

    Raises:
      VideoError: The video has no such frame.
    """
    frame = record.frame_caption.frame
    if frame is not None and frame >= num_total:
        raise VideoError(f"its caption is of frame {frame}, but it has frames 0 to {num_total - 1}.")
    return middle_index(num_total) if frame is None else frame


class ImageTextLoader(ClipLoader):
    """Makes batches of images with a long and a short text, the input of Long-CLIP's training.

    A record with a frame caption gives that frame and that caption; any other record gives one of its captions and one
    of its frames (an image is a video of one). The short text is the caption's first sentence, as in Long-CLIP's
    ``train/sharegpt4v.py``: long captions begin with a summary.

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
            **empty_rows(size),
        }

    def _fill_usable(self, batch: Batch, row: int, record: Record, rng: np.random.Generator | None) -> None:
        """Fills a row; without an ``rng`` a record that captions no frame gives its first caption and middle frame."""
        captions_frame = record.frame_caption is not None and record.frame_caption.caption.text.strip()
        caption = record.frame_caption.caption if captions_frame else _one_caption(record, rng)

        def choose(num_total: int) -> list[int]:
            if captions_frame:
                return [captioned_frame(record, num_total)]
            return [middle_index(num_total) if rng is None else int(rng.integers(num_total))]

        frames = video.decode(record.video, choose)
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
