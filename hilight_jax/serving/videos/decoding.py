"""Decodes untrusted videos in processes of their own, and caches the latest clips.

``data/timed_workers.py`` reuses its workers, which suits a user's own files; a stranger's file may take over the
process that decodes it, so here each file gets a new process without keys and with limits of memory and CPU.
"""

import asyncio
import collections
import contextlib
import dataclasses
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError, UserError
from hilight_jax.data.films.pieces import Piece
from hilight_jax.data.films.reader import ReadPiece
from hilight_jax.generation.video_clip import VideoClip, Zoom
from hilight_jax.serving.videos.admission import AdmissionQueue

Frames = int | Sequence[int] | None
_NUM_CACHED, _MAX_CACHED_BYTES = 32, 2**28
# The environment of a decoding process; it has no API keys, because a video may exploit a fault of the decoder.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "VIRTUAL_ENV")
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class VideoLimits:
    """Limits of the clients' videos.

    Attributes:
      max_bytes: Size of one video.
      max_total_bytes: Size of all uploaded files together; the oldest are deleted first.
      max_pixels: Pixels of a frame.
      max_seconds: Length of a video.
      decode_seconds: CPU time and wall time of decoding some frames of it.
      film_seconds: CPU time and wall time of reading all of it, cut into pieces.
      decode_memory_bytes: Address space of the decoding process.
      decoders: Processes that decode at a time.
      max_waiting: Requests that may wait for one.
      allowed_hosts: Hosts that ``http(s)`` videos may be fetched from; none by default.
      fetch_seconds: Time to fetch a video.
    """

    max_bytes: int = 100 * 10**6
    max_total_bytes: int = 10**9
    max_pixels: int = 4096 * 2304
    max_seconds: float = 4 * 3600.0
    decode_seconds: float = 30.0
    film_seconds: float = 1800.0
    decode_memory_bytes: int = 3 * 2**30
    decoders: int = 2
    max_waiting: int = 64
    allowed_hosts: tuple[str, ...] = ()
    fetch_seconds: float = 20.0


class FilmEnd(NamedTuple):
    """The length of a film in seconds, and sentences about its damage."""

    seconds: float
    faults: tuple[str, ...]


class NoRoom(UserError):
    """The server's disk is full."""


class DecoderFailed(UserError):
    """The decoding process was killed or could not start."""


class VideoDecoder:
    """Decodes a limited number of videos at a time, and caches the latest clips."""

    def __init__(self, directory: Path, num_frames: int, image_size: int, limits: VideoLimits):
        """Starts with an empty cache; ``directory`` is for temporary files, see ``VideoStore`` for the others."""
        self._directory, self._num_frames, self._image_size, self._limits = directory, num_frames, image_size, limits
        self._cached: collections.OrderedDict[str, VideoClip] = collections.OrderedDict()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._queue = AdmissionQueue(limits.decoders, limits.max_waiting, "for their videos to be decoded")
        self._films = AdmissionQueue(1, limits.max_waiting, "for their films to be read")

    async def decode(
        self, digest: str, video: Callable[[], bytes | Path], frames: Frames = None, zoom: Zoom = "off"
    ) -> VideoClip:
        """Returns the clip of a video from the cache, or decodes it.

        Args:
          digest: Hash of its content.
          video: Returns its bytes or its file; called when the queue admits it.
          frames: Number of frames to read, evenly spaced, or their numbers; None for as many as the model sees.
          zoom: The zoom that they are to be looked at with.

        Raises:
          DataError: It cannot be decoded, or exceeds a limit.
          DecoderFailed: The decoding process was killed.
          NoRoom: The disk is full.
          QueueFull: Too many videos wait.
        """
        wanted = self._num_frames if frames is None else frames
        name = f"{digest} {wanted} {zoom}"

        async def look_up() -> VideoClip:
            clip = self._cached.pop(name, None)
            if clip is None:
                clip = await asyncio.to_thread(self._decode, video(), wanted, zoom)
            self._cached[name] = clip
            while len(self._cached) > _NUM_CACHED or (
                len(self._cached) > 1 and sum(map(_num_bytes, self._cached.values())) > _MAX_CACHED_BYTES
            ):
                self._cached.popitem(last=False)
            return clip

        return await self._queue.run(look_up)

    async def film(
        self, video: Callable[[], bytes | Path], rule: str, take: Callable[[ReadPiece], Awaitable[None]]
    ) -> FilmEnd:
        """Reads a whole film, cut into pieces; ``take`` is called with every piece as soon as it is read.

        Args:
          video: Returns its bytes or its file; called when the queue admits it.
          rule: Of ``data/films/pieces.parse_rule``.
          take: Takes a piece; the next one waits for it.

        Raises:
          UserError: As of ``decode``.
        """
        return await self._films.run(lambda: self._read_film(video(), rule, take))

    async def _read_film(self, video: bytes | Path, rule: str, take: Callable[[ReadPiece], Awaitable[None]]) -> FilmEnd:
        if isinstance(video, Path):
            return await self._read_film_file(video, rule, take)
        with tempfile.NamedTemporaryFile(dir=self._directory) as file:
            await asyncio.to_thread(write, Path(file.name), video)
            return await self._read_film_file(Path(file.name), rule, take)

    async def _read_film_file(self, path: Path, rule: str, take: Callable[[ReadPiece], Awaitable[None]]) -> FilmEnd:
        """Runs ``film_child`` on a file."""
        sizes = {"rule": rule, "num_frames": self._num_frames, "image_size": self._image_size}
        limits = sizes | self._limits_of(self._limits.film_seconds)
        with self._started("film_child", path, limits) as child:
            watch = asyncio.get_running_loop().call_later(self._limits.film_seconds + 10, child.kill)
            try:
                while (part := await asyncio.to_thread(_read_part, child)) is not None and "seconds" not in part:
                    piece, strip = Piece(*json.loads(str(part["piece"]))), part["strip"].tobytes()
                    await take(ReadPiece(piece, part["frames"], part["numbers"], strip))
            finally:
                watch.cancel()
            _, said = await asyncio.to_thread(child.communicate)  # A sentence, which fits into the pipe.
        self._check_code(child.returncode, said, "film")
        if part is None:
            raise DecoderFailed("the decoder ended before the film did; try again, or give another video.")
        return FilmEnd(float(part["seconds"]), tuple(json.loads(str(part["faults"]))))

    def close(self) -> None:
        """Kills the decoding processes, and starts no more."""
        self._closed = True
        for child in list(self._children):
            child.kill()

    def _limits_of(self, seconds: float) -> dict[str, float]:
        """The limits of a process that may take so much CPU time."""
        limits = self._limits
        shared = {"max_pixels": limits.max_pixels, "max_seconds": limits.max_seconds}
        return shared | {"memory_bytes": limits.decode_memory_bytes, "seconds": seconds}

    @contextlib.contextmanager
    def _started(self, module: str, path: Path, limits: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
        """Starts a process that reads a file, and kills it at the end."""
        if self._closed:
            raise DecoderFailed("the server is stopping; ask again when it is back.")
        command = [sys.executable, "-m", f"hilight_jax.serving.videos.{module}", str(path), json.dumps(limits)]
        environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
        try:
            child = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise DecoderFailed(f"no decoder could be started ({error.strerror}); try again later.") from error
        self._children.add(child)
        try:
            yield child
        finally:
            child.kill()
            child.communicate()
            self._children.discard(child)

    def _check_code(self, code: int, stderr: bytes, what: str) -> None:
        """Raises the error that a process has ended with."""
        if code == 2:
            raise DataError(f"the {what} cannot be used: {stderr.decode(errors='replace')[-300:]}")
        if code:
            _LOG.warning("a decoder ended with %d: %s", code, stderr.decode(errors="replace")[-2000:])
            raise DecoderFailed(
                f"the decoder was stopped while it read the {what} (more time or memory than it may take); try again, "
                f"or give another video."
            )

    def _decode(self, video: bytes | Path, frames: int | Sequence[int], zoom: Zoom) -> VideoClip:
        if isinstance(video, Path):
            return self._decode_file(video, frames, zoom)
        with tempfile.NamedTemporaryFile(dir=self._directory) as file:
            write(Path(file.name), video)
            return self._decode_file(Path(file.name), frames, zoom)

    def _decode_file(self, path: Path, frames: int | Sequence[int], zoom: Zoom) -> VideoClip:
        """Runs ``decode_child`` on a file."""
        limits = {"frames": frames, "zoom": zoom, "image_size": self._image_size}
        limits |= self._limits_of(self._limits.decode_seconds)
        with self._started("decode_child", path, limits) as child:
            try:
                stdout, stderr = child.communicate(timeout=self._limits.decode_seconds + 10)
            except subprocess.TimeoutExpired as error:
                raise DataError(
                    f"the video took longer than {self._limits.decode_seconds:.0f} s to decode; give a shorter one."
                ) from error
        self._check_code(child.returncode, stderr, "video")
        arrays = np.load(io.BytesIO(stdout), allow_pickle=False)
        named = {name: arrays[name] for name in ("frames", "pictures", "numbers", "times", "whole") if name in arrays}
        height, width = arrays["size"].tolist()
        return VideoClip("video", **named, num_total=int(arrays["num_total"]), size=(height, width), zoom=zoom)


def _read_part(child: subprocess.Popen[bytes]) -> dict[str, np.ndarray] | None:
    """Reads the next archive that a child has sent; None at the end."""
    assert child.stdout is not None
    length = int.from_bytes(child.stdout.read(8), "big")
    content = child.stdout.read(length)
    if not length or len(content) < length:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _num_bytes(clip: VideoClip) -> int:
    return sum(array.nbytes for array in (clip.frames, clip.pictures, clip.whole) if array is not None)


def write(path: Path, content: bytes) -> None:
    """Writes a video to the server's disk, or raises a ``NoRoom``."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise NoRoom(f"the server cannot keep the video ({error.strerror}); try again later.") from error
