"""Searches in the archive of films that the server was given, for ``/v1/search`` with ``archive``."""

import asyncio
import base64
from typing import Any

import numpy as np

from hilight_jax.archive.searching import Hit, combine, search
from hilight_jax.archive.store import Store
from hilight_jax.core.errors import ConfigError
from hilight_jax.serving.embedding import Embedder
from hilight_jax.serving.protocol import SearchRequest
from hilight_jax.serving.videos.admission import AdmissionQueue
from hilight_jax.serving.videos.video_store import VideoStore


class ArchiveService:
    """Searches an index; the encoder takes its turn in the queue of all that it does."""

    def __init__(self, store: Store | None, embedder: Embedder | None, videos: VideoStore, queue: AdmissionQueue):
        """Takes the index, None where the server was given none, made with this encoder."""
        self._store, self._embedder, self._videos, self._queue = store, embedder, videos, queue

    @property
    def available(self) -> bool:
        """True if there is an index to search."""
        return self._store is not None and self._embedder is not None

    async def search(self, wanted: SearchRequest) -> list[dict[str, Any]]:
        """Finds the pieces of films that fit a phrase, or a phrase and a video half each, the best first.

        Returns:
          Of each ``film``, its path on the server, ``start``, ``end`` and ``stroke`` in seconds, ``kind``, ``number``,
          ``score``, and ``strip``, frames as a JPEG file.

        Raises:
          ConfigError: This server has no index.
          UserError: The video cannot be used, the index cannot be read, or the queue is full.
        """
        if self._store is None or self._embedder is None:
            raise ConfigError("this server has no archive to search; it is given one by 'serve --index INDEX'.")
        store, embedder = self._store, self._embedder
        frames = None
        if wanted.videos:
            frames = (await self._videos.clip(wanted.videos[0].url)).frames

        def find() -> list[Hit]:
            video = None if frames is None else embedder.encode_frames(frames).embed
            query = combine(np.asarray(embedder.embed_text(wanted.text)), video)
            return search(store, query, wanted.top, strips=True)

        hits = await self._queue.run(lambda: asyncio.to_thread(find))
        return [_as_json(hit) for hit in hits]


def _as_json(hit: Hit) -> dict[str, Any]:
    strip = f"data:image/jpeg;base64,{base64.b64encode(hit.strip).decode()}"
    return {**hit._asdict(), "strip": strip}
