"""Films of clients, cut into pieces that are each encoded once: the pieces that fit a text, with their times."""

import asyncio
import base64
import collections
import dataclasses
import hashlib
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from hilight_jax.core.errors import ConfigError
from hilight_jax.data.films.pieces import SHOTS, Piece, parse_rule
from hilight_jax.data.films.reader import ReadPiece
from hilight_jax.serving.embedding import Embedder
from hilight_jax.serving.kept_videos import EncodedVideo
from hilight_jax.serving.videos.admission import AdmissionQueue
from hilight_jax.serving.videos.video_store import VideoStore, is_file_id

WINDOW, SHORTEST = 4.0, 0.2  # Seconds of a window that is compared with a text.
MOST_WINDOWS = 256  # Half of the windows of a video, at most.
SHOWN = 8  # Windows that are sent with a strip of frames.
# Bytes of encoded pieces that are kept for the next request, those of films that are asked about now aside.
_MAX_KEPT_BYTES = 2**28


class SeenPiece(NamedTuple):
    """A piece of a film, the numbers of the frames that it is seen in, and a JPEG file of some of them."""

    piece: Piece
    numbers: tuple[int, ...]
    strip: bytes


@dataclasses.dataclass(frozen=True)
class Film:
    """A film that is cut into pieces; ``faults`` are sentences about its damage."""

    pieces: Sequence[SeenPiece]
    encoded: Sequence[EncodedVideo]
    seconds: float
    faults: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the encoded pieces."""
        return sum(video.nbytes for video in self.encoded)


class Moment(NamedTuple):
    """A piece that was compared with a text; ``score`` is the similarity with the help of the things that it names."""

    seen: SeenPiece
    similarity: float
    score: float

    @property
    def piece(self) -> Piece:
        """Its times and its kind."""
        return self.seen.piece

    def as_json(self, with_strip: bool = False) -> dict[str, Any]:
        """The times in seconds and the figures, and frames as a ``data:`` URL."""
        url = f"data:image/jpeg;base64,{base64.b64encode(self.seen.strip).decode()}"
        figures = {"similarity": self.similarity, "score": self.score}
        return self.piece._asdict() | figures | ({"strip": url} if with_strip else {})


class FilmService:
    """Films of requests; each is read once as long as it is kept."""

    def __init__(self, embedder: Embedder | None, videos: VideoStore, queue: AdmissionQueue):
        """Takes the encoder, None where its run is missing, and the queue of its work."""
        self._embedder, self._videos, self._queue = embedder, videos, queue
        self._films: collections.OrderedDict[Hashable, asyncio.Task[Film]] = collections.OrderedDict()

    @property
    def available(self) -> bool:
        """True if there is an encoder."""
        return self._embedder is not None

    async def film(self, url: str, rule: str) -> Film:
        """Cuts a film into pieces and encodes them, or takes one that is kept.

        Args:
          url: The film.
          rule: That cuts it, of ``data/films/pieces.parse_rule``.

        Raises:
          ConfigError: This server has no encoder.
          UserError: The film cannot be used, or a queue is full.
        """
        if self._embedder is None:
            raise ConfigError("this server has no encoder: the run that its model sees with is gone.")
        key = (await self._digest(url), rule)
        task = self._films.pop(key, None)
        if task is None or _failed(task):
            task = asyncio.create_task(self._read(self._embedder, url, rule))
            task.add_done_callback(lambda ended: self._films.pop(key, None) if _failed(ended) else None)
        self._films[key] = task
        try:
            film = await asyncio.shield(task)  # Another request may wait for it too.
        finally:
            if url.startswith("http"):  # What is fetched may be another film the next time.
                self._films.pop(key, None)
        self._forget(key)
        return film

    async def moments(self, url: str, text: str, rule: str, words: bool | None) -> tuple[list[Moment], Film]:
        """Orders the pieces of a film by how well they fit a text, the best first.

        Raises:
          ConfigError: This server has no encoder, or words are asked for and the encoder has no local heads.
          UserError: The film cannot be used, or a queue is full.
        """
        film, embedder = await self.film(url, rule), self._embedder
        assert embedder is not None
        work = (embedder.compare, text, film.encoded, words, None)
        similarity, score = (x.tolist() for x in await self._queue.run(lambda: asyncio.to_thread(*work)))
        found = [Moment(*of_piece) for of_piece in zip(film.pieces, similarity, score, strict=True)]
        return sorted(found, key=lambda moment: -moment.score), film

    async def scan(self, url: str, text: str, words: bool | None, with_shots: bool) -> dict[str, Any]:
        """Compares a text with windows of a few seconds over a whole video, each half over the next.

        Returns:
          ``data``, the windows, the best first, the first ``SHOWN`` with a strip of frames; ``seconds`` of the video
          and its ``faults``; ``shots``, the pieces of a film, where they are asked for.

        Raises:
          ConfigError: As of ``moments``.
          UserError: As of ``moments``.
        """
        total = float((await self._videos.clip(url)).times[-1])
        length = max(min(WINDOW, total / 4), total / MOST_WINDOWS, SHORTEST)
        moments, film = await self.moments(url, text, parse_rule(f"{length:.3f},{length / 2:.3f}"), words)
        found = [moment.as_json(place < SHOWN) for place, moment in enumerate(moments)]
        result = {"object": "list", "data": found, "seconds": film.seconds, "faults": list(film.faults)}
        if with_shots:
            result["shots"] = [seen.piece._asdict() for seen in (await self.film(url, SHOTS)).pieces]
        return result

    async def _digest(self, url: str) -> str:
        """Hashes an address, in a thread: that of a video in a ``data:`` URL is as long as the video."""
        if is_file_id(url):
            return self._videos.get(url).digest
        return await asyncio.to_thread(lambda: hashlib.sha256(url.encode()).hexdigest())

    async def _read(self, embedder: Embedder, url: str, rule: str) -> Film:
        pieces: list[SeenPiece] = []
        encoded: list[EncodedVideo] = []

        async def take(part: ReadPiece) -> None:
            work = (embedder.encode_frames, part.frames)
            encoded.append(await self._queue.run(lambda: asyncio.to_thread(*work)))
            pieces.append(SeenPiece(part.piece, tuple(part.numbers.tolist()), part.strip))

        end = await self._videos.film(url, rule, take)
        return Film(pieces, encoded, end.seconds, end.faults)

    def _forget(self, used: Hashable) -> None:
        """Drops the films used longest ago while all take too much."""
        ended = [(key, task) for key, task in self._films.items() if task.done() and not _failed(task)]
        total = sum(task.result().nbytes for _, task in ended)
        for key, task in ended:
            if total <= _MAX_KEPT_BYTES:
                return
            if key != used:
                total -= task.result().nbytes
                del self._films[key]


def _failed(task: asyncio.Task[Film]) -> bool:
    """True of a task that has ended without a film."""
    return task.done() and (task.cancelled() or task.exception() is not None)
