"""Embeddings of texts and videos, and the stretches of a video that fit a phrase; both run the encoder alone."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from hilight_jax.core.errors import ConfigError
from hilight_jax.serving.protocol import TextPart, VideoPart
from hilight_jax.serving.videos.admission import AdmissionQueue
from hilight_jax.serving.videos.video_store import VideoStore, is_file_id

_Result = TypeVar("_Result")
# Stretches of a video that are compared with a phrase.
_NUM_STRETCHES = 24


class Embedder(Protocol):
    """The encoder whose video tower the chat model uses.

    Attributes:
      num_frames: F, frames of a video that it takes.
      image_size: Rows and columns of a frame.
    """

    num_frames: int
    image_size: int

    def count_tokens(self, text: str) -> int:
        """Counts the tokens of a text as it is embedded."""

    def embed_text(self, text: str) -> np.ndarray:
        """Embeds a text as a unit vector."""

    def embed_frames(self, frames: np.ndarray) -> np.ndarray:
        """Embeds frames uint8 [F, Y, X, 3] as a unit vector."""


class EmbeddingService:
    """Requests to the encoder, which take their turn in a queue."""

    def __init__(self, embedder: Embedder | None, videos: VideoStore, queue: AdmissionQueue):
        """Takes the encoder, None where its run is missing, and the queue of its work."""
        self._embedder, self._videos, self._queue = embedder, videos, queue

    @property
    def available(self) -> bool:
        """True if there is an encoder."""
        return self._embedder is not None

    def warm_up(self) -> None:
        """Compiles both towers, if there is an encoder."""
        if self._embedder is not None:
            size = self._embedder.image_size
            self._embedder.embed_text("a ball")
            self._embedder.embed_frames(np.zeros((self._embedder.num_frames, size, size, 3), np.uint8))

    async def embed(self, items: Sequence[str | TextPart | VideoPart]) -> tuple[list[np.ndarray], int]:
        """Embeds texts and videos as comparable unit vectors; also counts the tokens of the texts.

        Raises:
          ConfigError: This server has no encoder.
          UserError: A video cannot be used, or the queue is full.
        """
        embedder, vectors, num_tokens = self._encoder(), [], 0
        for item in items:
            text = item.text if isinstance(item, TextPart) else item
            if isinstance(text, VideoPart) or is_file_id(text):
                clip = await self._videos.clip(text if isinstance(text, str) else text.video_url.url)
                vectors.append(await self._run(embedder.embed_frames, clip.frames))
            else:
                vectors.append(await self._run(embedder.embed_text, text))
                num_tokens += embedder.count_tokens(text)
        return vectors, num_tokens

    async def moments(self, url: str, text: str) -> dict[str, Any]:
        """Compares a phrase with overlapping stretches of a video, each as many frames as the encoder takes.

        Returns:
          ``similarity`` of each stretch, ``time`` of its middle as a fraction of the video, and ``peak``, the time of
          the most similar one.

        Raises:
          ConfigError: This server has no encoder.
          UserError: The video cannot be used, or the queue is full.
        """
        embedder = self._encoder()
        count = embedder.num_frames
        clip = await self._videos.clip(url, count + _NUM_STRETCHES - 1)

        def compare() -> list[float]:
            phrase = embedder.embed_text(text)
            starts = range(len(clip.frames) - count + 1)
            return [float(embedder.embed_frames(clip.frames[start : start + count]) @ phrase) for start in starts]

        found = await self._run(compare)
        middles = [float(np.mean(clip.numbers[i : i + count])) / max(clip.num_total - 1, 1) for i in range(len(found))]
        return {"similarity": found, "time": middles, "peak": middles[int(np.argmax(found))]}

    async def _run(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Runs the encoder in a thread, when the queue admits it."""
        return await self._queue.run(lambda: asyncio.to_thread(work, *arguments))

    def _encoder(self) -> Embedder:
        if self._embedder is None:
            raise ConfigError("this server has no encoder: the run that its model sees with is gone.")
        return self._embedder
