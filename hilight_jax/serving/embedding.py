"""Embeddings of texts and videos, and the videos that fit a phrase: by the encoder alone."""

import asyncio
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from hilight_jax.core.errors import ConfigError, DataError, UserError
from hilight_jax.serving.kept_videos import ComparedVideo, EncodedVideo, KeptVideos
from hilight_jax.serving.protocol import TextPart, VideoPart
from hilight_jax.serving.videos.admission import AdmissionQueue
from hilight_jax.serving.videos.video_store import VideoStore, is_file_id

_Result = TypeVar("_Result")
# Bytes of encoded videos, patches included, that are kept for the next search.
_MAX_KEPT_BYTES = 2**28


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
        self, text: str, clips: Sequence[ComparedVideo], words: bool | None, shortlist: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the cosine of a text and each clip, and the score with the help of words.

        The patches of a clip are read when words are looked for in it, one clip after the other.
        """


class EmbeddingService:
    """Requests to the encoder, which take their turn in a queue."""

    def __init__(self, embedder: Embedder | None, videos: VideoStore, queue: AdmissionQueue):
        """Takes the encoder, None where its run is missing, and the queue of its work."""
        self._embedder, self._videos, self._queue = embedder, videos, queue
        self._embeds: dict[Hashable, np.ndarray] = {}  # Of uploads, by digest; about 2 KB each.
        self._kept = KeptVideos(_MAX_KEPT_BYTES)

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
        used: set[Hashable] = set()
        self._forget_deleted()
        for item in items:
            text = item.text if isinstance(item, TextPart) else item
            if isinstance(text, VideoPart) or is_file_id(text):
                url = text if isinstance(text, str) else text.video_url.url
                vectors.append(await self._embed(url, self._digest(url), used))
            else:
                vectors.append(await self._run(embedder.embed_text, text))
                num_tokens += embedder.count_tokens(text)
        return vectors, num_tokens

    async def search(
        self, urls: Sequence[str] | None, text: str, words: bool | None, shortlist: int | None
    ) -> list[dict[str, Any]]:
        """Orders videos by how well they fit a phrase, the best first.

        The embeddings of uploads are kept, and the patches of as many videos as fit. So the next search costs a text,
        and those videos of the shortlist whose patches did not fit.

        Args:
          urls: The videos; None takes all uploads but those that are deleted meanwhile.
          text: The phrase.
          words: Look for the things that it names; None does where the encoder has local heads.
          shortlist: Videos of the highest similarity that words are looked for in; None takes all.

        Returns:
          ``url`` of each, ``similarity`` and ``score``, which orders them.

        Raises:
          ConfigError: This server has no encoder, or words are asked for and the encoder has no local heads.
          UserError: A video cannot be used, or the queue is full.
        """
        embedder, loop, ended = self._encoder(), asyncio.get_running_loop(), threading.Event()
        used: set[Hashable] = set()

        def read(clip: "_Candidate") -> EncodedVideo:
            """Takes a kept video or encodes it again, in the thread that compares."""
            encoded = self._kept.get(clip.key, used)
            if encoded is None:
                if ended.is_set():
                    raise DataError("the client of this search has left.")
                frames = asyncio.run_coroutine_threadsafe(self._videos.clip(clip.url), loop).result().frames
                encoded = embedder.encode_frames(frames)
                if not ended.is_set():
                    self._kept.put(clip.key, encoded, used)
            return encoded

        self._forget_deleted()
        clips: list[_Candidate] = []
        try:
            for url in [file.id for file in self._videos.files()] if urls is None else urls:
                try:
                    key = self._digest(url) or object()
                    clips.append(_Candidate(url, key, await self._embed(url, key, used), read))
                except UserError:
                    if urls is not None or url in self._stored():
                        raise
            while clips:
                try:
                    compared = await self._run(embedder.compare, text, clips, words, shortlist)
                except UserError:
                    stored = self._stored()
                    left = [clip for clip in clips if clip.url in stored]
                    if urls is not None or len(left) == len(clips):
                        raise
                    clips = left
                else:
                    similarity, score = (x.tolist() for x in compared)
                    order = sorted(range(len(clips)), key=lambda number: -score[number])
                    return [{"url": clips[n].url, "similarity": similarity[n], "score": score[n]} for n in order]
            return []
        finally:
            ended.set()
            for clip in clips:
                if not isinstance(clip.key, str):  # No upload, so no other search finds it.
                    self._kept.drop(clip.key)

    async def _embed(self, url: str, key: Hashable | None, used: set[Hashable]) -> np.ndarray:
        """Embeds a video, and keeps it under a key unless that is None; an upload's key is its digest."""
        embed = self._embeds.get(key)
        if embed is None:
            encoded = await self._run(self._encoder().encode_frames, (await self._videos.clip(url)).frames)
            embed = encoded.embed
            if key is not None:
                self._kept.put(key, encoded, used)
            if isinstance(key, str):
                self._embeds[key] = embed
        return embed

    def _digest(self, url: str) -> str | None:
        """Returns the digest of an upload, None for another video."""
        return self._videos.get(url).digest if is_file_id(url) else None

    def _stored(self) -> set[str]:
        return {file.id for file in self._videos.files()}

    def _forget_deleted(self) -> None:
        """Drops what is kept of uploads that were deleted."""
        for digest in self._embeds.keys() - {file.digest for file in self._videos.files()}:
            del self._embeds[digest]
            self._kept.drop(digest)

    async def _run(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Runs the encoder in a thread, when the queue admits it."""
        return await self._queue.run(lambda: asyncio.to_thread(work, *arguments))

    def _encoder(self) -> Embedder:
        if self._embedder is None:
            raise ConfigError("this server has no encoder: the run that its model sees with is gone.")
        return self._embedder


class _Candidate:
    """A video of a search; its patches are read whenever they are asked for."""

    def __init__(self, url: str, key: Hashable, embed: np.ndarray, read: Callable[["_Candidate"], EncodedVideo]):
        self.url, self.key, self.embed, self._read = url, key, embed, read

    @property
    def patches(self) -> Any:
        return self._read(self).patches
