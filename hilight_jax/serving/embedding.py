"""Embeddings of texts and videos, the videos and the stretches of a video that fit a phrase: by the encoder alone."""

import asyncio
import collections
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
# Bytes of encoded uploads that are kept for the next search.
_MAX_KEPT_BYTES = 2**28


class EncodedVideo(Protocol):
    """A video as texts are compared with it.

    Attributes:
      embed: The embedding, a unit vector [E].
      nbytes: Bytes of memory that it takes.
    """

    embed: np.ndarray
    nbytes: int


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

    def encode_frames(self, frames: np.ndarray) -> EncodedVideo:
        """Encodes frames uint8 [F, Y, X, 3]."""

    def compare(
        self, text: str, clips: Sequence[EncodedVideo], words: bool | None, shortlist: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the cosine of a text and each clip, and the score with the help of words."""


class EmbeddingService:
    """Requests to the encoder, which take their turn in a queue."""

    def __init__(self, embedder: Embedder | None, videos: VideoStore, queue: AdmissionQueue):
        """Takes the encoder, None where its run is missing, and the queue of its work."""
        self._embedder, self._videos, self._queue = embedder, videos, queue
        self._kept: collections.OrderedDict[str, EncodedVideo] = collections.OrderedDict()

    @property
    def available(self) -> bool:
        """True if there is an encoder."""
        return self._embedder is not None

    def warm_up(self) -> None:
        """Compiles both towers, if there is an encoder."""
        if self._embedder is not None:
            size = self._embedder.image_size
            blank = self._embedder.encode_frames(np.zeros((self._embedder.num_frames, size, size, 3), np.uint8))
            self._embedder.compare("a ball", [blank], None, None)

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
                encoded = await self._encode(text if isinstance(text, str) else text.video_url.url)
                vectors.append(encoded.embed)
            else:
                vectors.append(await self._run(embedder.embed_text, text))
                num_tokens += embedder.count_tokens(text)
        return vectors, num_tokens

    async def search(
        self, urls: Sequence[str], text: str, words: bool | None, shortlist: int | None
    ) -> list[dict[str, Any]]:
        """Orders videos by how well they fit a phrase, the best first.

        Uploads stay encoded, the ones used last, so the next search costs a text.

        Returns:
          ``url`` of each, ``similarity`` and ``score``, which orders them.

        Raises:
          ConfigError: This server has no encoder, or words are asked for and the encoder has no local heads.
          UserError: A video cannot be used, or the queue is full.
        """
        embedder = self._encoder()
        if not urls:
            return []
        clips = [await self._encode(url) for url in urls]
        similarity, score = (x.tolist() for x in await self._run(embedder.compare, text, clips, words, shortlist))
        order = sorted(range(len(clips)), key=lambda number: -score[number])
        return [{"url": urls[n], "similarity": similarity[n], "score": score[n]} for n in order]

    async def moments(self, url: str, text: str, words: bool | None = None) -> dict[str, Any]:
        """Compares a phrase with overlapping stretches of a video, each as many frames as the encoder takes.

        Returns:
          ``similarity`` of each stretch, ``score`` with the help of words, ``time`` of its middle as a fraction of the
          video, and ``peak``, the time of the best score.

        Raises:
          ConfigError: This server has no encoder, or words are asked for and the encoder has no local heads.
          UserError: The video cannot be used, or the queue is full.
        """
        embedder = self._encoder()
        count = embedder.num_frames
        clip = await self._videos.clip(url, count + _NUM_STRETCHES - 1)

        starts = range(len(clip.frames) - count + 1)

        def compare() -> tuple[np.ndarray, np.ndarray]:
            stretches = [embedder.encode_frames(clip.frames[start : start + count]) for start in starts]
            return embedder.compare(text, stretches, words, None)

        similarity, score = (x.tolist() for x in await self._run(compare))
        middles = [float(np.mean(clip.numbers[i : i + count])) / max(clip.num_total - 1, 1) for i in starts]
        return {"similarity": similarity, "score": score, "time": middles, "peak": middles[int(np.argmax(score))]}

    async def _encode(self, url: str) -> EncodedVideo:
        """Encodes a video; that of an upload is kept."""
        embedder = self._encoder()
        if not is_file_id(url):
            return await self._run(embedder.encode_frames, (await self._videos.clip(url)).frames)
        digest = self._videos.get(url).digest
        if digest not in self._kept:
            encoded = await self._run(embedder.encode_frames, (await self._videos.clip(url)).frames)
            self._kept[digest] = encoded
        self._kept.move_to_end(digest)
        encoded = self._kept[digest]
        while sum(each.nbytes for each in self._kept.values()) > _MAX_KEPT_BYTES:
            self._kept.popitem(last=False)
        return encoded

    async def _run(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Runs the encoder in a thread, when the queue admits it."""
        return await self._queue.run(lambda: asyncio.to_thread(work, *arguments))

    def _encoder(self) -> Embedder:
        if self._embedder is None:
            raise ConfigError("this server has no encoder: the run that its model sees with is gone.")
        return self._embedder
