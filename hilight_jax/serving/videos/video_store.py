"""The store of uploaded videos; also fetches videos from allowed hosts and decodes ``data:`` URLs."""

import asyncio
import base64
import binascii
import collections
import dataclasses
import hashlib
import re
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from hilight_jax.core.errors import DataError, UserError
from hilight_jax.data.films.reader import ReadPiece
from hilight_jax.generation.video_clip import VideoClip, Zoom
from hilight_jax.serving.videos.admission import AdmissionQueue
from hilight_jax.serving.videos.decoding import FilmEnd, Frames, NoRoom, VideoDecoder, VideoLimits, write

_ID = re.compile(r"file-[0-9a-f]{32}")
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*?(?P<base64>;base64)?,", re.ASCII)
# Videos that are fetched at a time; all of them may be in memory.
_MAX_FETCHES = 8


class UnknownFile(UserError):
    """No file has this id."""


class TooLarge(UserError):
    """A video exceeds the limit of bytes."""


class Forbidden(UserError):
    """Videos may not be fetched from this host."""


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """An uploaded file.

    Attributes:
      id: Its name on the server.
      filename: Its name on the client.
      digest: Hash of its content.
      size: Bytes.
      created: Unix time.
    """

    id: str
    filename: str
    digest: str
    size: int
    created: int


def is_file_id(text: str) -> bool:
    """Returns True if a text has the form of a file's id."""
    return bool(_ID.fullmatch(text))


class VideoStore:
    """Uploaded files in a temporary directory, and the clips of their and other videos."""

    def __init__(self, num_frames: int, image_size: int, limits: VideoLimits):
        """Makes the directory; a model sees ``num_frames`` square frames of ``image_size`` rows of a video."""
        self.limits = limits
        self._directory = tempfile.TemporaryDirectory(prefix="hilight-files-")
        self._files: collections.OrderedDict[str, StoredFile] = collections.OrderedDict()
        self._decoder = VideoDecoder(Path(self._directory.name), num_frames, image_size, limits)
        self._fetch_queue = AdmissionQueue(_MAX_FETCHES, limits.max_waiting, "for their videos to be fetched")
        # No compression: a small response could unpack without end.
        plain = {"accept-encoding": "identity"}
        self._client = httpx.AsyncClient(headers=plain, timeout=limits.fetch_seconds, trust_env=False)

    async def close(self) -> None:
        """Stops the decoders and deletes the directory."""
        self._decoder.close()
        await self._client.aclose()
        self._directory.cleanup()

    def files(self) -> list[StoredFile]:
        """Lists the uploaded files, the newest last."""
        return list(self._files.values())

    async def add(self, filename: str, content: bytes) -> StoredFile:
        """Stores a video; the oldest ones are deleted if the store is full.

        Raises:
          UserError: It is too large, or cannot be decoded.
        """
        self._check_size(len(content))
        digest = await asyncio.to_thread(_digest, content)
        await self._decoder.decode(digest, lambda: content)
        name = Path(filename).name[:200] or "video"
        stored = StoredFile(f"file-{secrets.token_hex(16)}", name, digest, len(content), int(time.time()))
        path = Path(self._directory.name) / stored.id
        try:
            await asyncio.to_thread(write, path, content)
        except NoRoom:
            path.unlink(missing_ok=True)
            raise
        while self._files and sum(f.size for f in self._files.values()) + stored.size > self.limits.max_total_bytes:
            self.delete(next(iter(self._files)))
        self._files[stored.id] = stored
        return stored

    def get(self, file_id: str) -> StoredFile:
        """Returns the record of a file.

        Raises:
          UnknownFile: No file has this id.
        """
        if not is_file_id(file_id) or file_id not in self._files:
            raise UnknownFile(
                f"there is no file '{file_id[:60]}'; upload it (POST /v1/files) and use the id that you get."
            )
        return self._files[file_id]

    def path(self, file_id: str) -> Path:
        """Returns the path of a file."""
        return Path(self._directory.name) / self.get(file_id).id

    def delete(self, file_id: str) -> None:
        """Deletes a file."""
        self.path(file_id).unlink(missing_ok=True)
        del self._files[file_id]

    async def clip(self, url: str, frames: Frames = None, zoom: Zoom = "off") -> VideoClip:
        """Reads frames of a video, by default those that the model sees.

        Args:
          url: A file's id, a ``data:`` URL, or ``http(s)`` on an allowed host.
          frames: Number of frames to read, evenly spaced, or their numbers; None for as many as the model sees.
          zoom: The zoom that they are to be looked at with.

        Raises:
          UserError: The address is not valid, or the video cannot be fetched or decoded or exceeds a limit.
          QueueFull: Too many videos wait.
        """

        async def decode(content: bytes) -> VideoClip:
            digest = await asyncio.to_thread(_digest, content)
            return await self._decoder.decode(digest, lambda: content, frames, zoom)

        async def fetch() -> VideoClip:
            return await decode(await self._from_host(url))

        scheme = url.partition(":")[0].lower()
        if is_file_id(url):
            return await self._decoder.decode(self.get(url).digest, lambda: self.path(url), frames, zoom)
        if scheme == "data":
            return await decode(await asyncio.to_thread(self._from_data_url, url))
        if scheme in ("http", "https"):
            # The place is kept until the video is decoded, so that the videos in memory are limited.
            return await self._fetch_queue.run(fetch)
        raise DataError(
            f"the video '{url[:60]}' is neither the id of an uploaded file (file-...), nor a data: URL, nor http(s)."
        )

    async def film(self, url: str, rule: str, take: Callable[[ReadPiece], Awaitable[None]]) -> FilmEnd:
        """Reads a whole film, cut into pieces, see ``VideoDecoder.film``; raises what ``clip`` does."""
        if is_file_id(url):
            return await self._decoder.film(lambda: self.path(url), rule, take)
        if url.partition(":")[0].lower() == "data":
            content = await asyncio.to_thread(self._from_data_url, url)
            return await self._decoder.film(lambda: content, rule, take)
        content = await self._fetch_queue.run(lambda: self._from_host(url))
        return await self._decoder.film(lambda: content, rule, take)

    def _from_data_url(self, url: str) -> bytes:
        match = _DATA_URL.match(url[:200])
        if not match or not match["base64"]:
            raise DataError("the data: URL is not written as data:video/mp4;base64,....")
        body = url[match.end() :]
        if len(body) > self.limits.max_bytes * 4 // 3 + 4:
            self._check_size(len(body) * 3 // 4)
        try:
            content = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"the data: URL holds no base64 ({error}).") from error
        self._check_size(len(content))
        return content

    async def _from_host(self, url: str) -> bytes:
        """Fetches a video from an allowed host, without following redirects."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError as error:
            raise DataError(f"'{url[:60]}' is no address ({error}).") from error
        named = f"{host}:{port}" if port else host
        if named not in self.limits.allowed_hosts or parts.username or parts.password:
            where = f"from {', '.join(self.limits.allowed_hosts)}" if self.limits.allowed_hosts else "from no host"
            raise Forbidden(f"videos may be fetched {where}, not from '{named[:60]}'; upload the file instead.")
        try:
            async with asyncio.timeout(self.limits.fetch_seconds), self._client.stream("GET", url) as response:
                if response.is_redirect:
                    raise Forbidden(f"'{named}' redirects elsewhere, which is not followed; upload the file instead.")
                if response.status_code != 200:
                    raise DataError(f"'{named}' answers {response.status_code} for this video.")
                content = bytearray()
                async for chunk in response.aiter_raw():
                    content += chunk
                    self._check_size(len(content))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise DataError(f"the video cannot be fetched from '{named}' ({type(error).__name__}).") from error
        return bytes(content)

    def _check_size(self, size: int) -> None:
        if size > self.limits.max_bytes:
            raise TooLarge(f"the video has more than the {self.limits.max_bytes / 1e6:g} MB that it may have; cut it.")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
