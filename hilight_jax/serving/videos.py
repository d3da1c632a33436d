"""The videos that clients show: kept under ids of their own, fetched from allowed hosts, decoded in processes apart."""

import asyncio
import base64
import binascii
import collections
import dataclasses
import hashlib
import io
import json
import re
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import httpx
import numpy as np

from hilight_jax.core.errors import DataError, UserError
from hilight_jax.serving.footage import Footage

_ID = re.compile(r"file-[0-9a-f]{32}")
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*?(?P<base64>;base64)?,", re.ASCII)
_REMEMBERED = 32


class UnknownFile(UserError):
    """No file has this id."""


class TooLarge(UserError):
    """More bytes than may be sent."""


class Forbidden(UserError):
    """A host that videos may not be fetched from."""


class DecoderFailed(UserError):
    """The decoder ended without a word: it was killed."""


@dataclasses.dataclass(frozen=True)
class VideoLimits:
    """What a client may ask of the machine.

    Attributes:
      max_bytes: Of one video.
      max_total_bytes: Of all uploaded files together; the oldest go first.
      max_pixels: Of a frame.
      max_seconds: Length of a video.
      decode_seconds: Time to decode it, of the processor and of the clock.
      decode_memory_bytes: Address space of the decoding process.
      decoders: Processes that decode at a time.
      allowed_hosts: Where ``http(s)`` videos may be fetched from; none unless named.
      fetch_seconds: Time to fetch one.
    """

    max_bytes: int = 100 * 10**6
    max_total_bytes: int = 10**9
    max_pixels: int = 4096 * 2304
    max_seconds: float = 600.0
    decode_seconds: float = 30.0
    decode_memory_bytes: int = 3 * 2**30
    decoders: int = 2
    allowed_hosts: tuple[str, ...] = ()
    fetch_seconds: float = 20.0


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """An uploaded file.

    Attributes:
      id: Its name here.
      filename: Its name there.
      size: Bytes.
      created: Seconds since 1970.
    """

    id: str
    filename: str
    size: int
    created: int


def is_file_id(text: str) -> bool:
    """Whether a text is written as the id of an uploaded file."""
    return bool(_ID.fullmatch(text))


class Videos:
    """Uploaded files in a directory of their own, and the frames of videos that were decoded last."""

    def __init__(self, num_frames: int, image_size: int, limits: VideoLimits):
        """Makes the directory; ``close`` deletes it.

        Args:
          num_frames: F, frames that a model sees of a video.
          image_size: Rows and columns of a frame.
          limits: What clients may ask.
        """
        self.limits, self._num_frames, self._image_size = limits, num_frames, image_size
        self._directory = tempfile.TemporaryDirectory(prefix="hilight-files-")
        self._files: collections.OrderedDict[str, StoredFile] = collections.OrderedDict()
        self._known: collections.OrderedDict[str, Footage] = collections.OrderedDict()
        self._turns = asyncio.Semaphore(limits.decoders)
        # Nothing is unpacked on the way: a small archive may be endless.
        plain = {"accept-encoding": "identity"}
        self._client = httpx.AsyncClient(headers=plain, timeout=limits.fetch_seconds, trust_env=False)

    async def close(self) -> None:
        """Forgets everything."""
        await self._client.aclose()
        self._directory.cleanup()

    def files(self) -> list[StoredFile]:
        """The uploaded files, the newest last."""
        return list(self._files.values())

    async def add(self, filename: str, content: bytes) -> StoredFile:
        """Keeps a video; the oldest make room.

        Raises:
          UserError: It is larger than a video may be, or no video.
        """
        self._check_size(len(content))
        await self._frames(content, self._num_frames)
        name = Path(filename).name[:200] or "video"
        stored = StoredFile(f"file-{secrets.token_hex(16)}", name, len(content), int(time.time()))
        while self._files and sum(f.size for f in self._files.values()) + stored.size > self.limits.max_total_bytes:
            self.delete(next(iter(self._files)))
        self._path(stored.id).write_bytes(content)
        self._files[stored.id] = stored
        return stored

    def get(self, file_id: str) -> StoredFile:
        """What is known of a file.

        Raises:
          UnknownFile: There is none of this id.
        """
        if not is_file_id(file_id) or file_id not in self._files:
            raise UnknownFile(
                f"there is no file '{file_id[:60]}'; upload it (POST /v1/files) and use the id that you get."
            )
        return self._files[file_id]

    def content(self, file_id: str) -> bytes:
        """The bytes of a file."""
        return self._path(self.get(file_id).id).read_bytes()

    def delete(self, file_id: str) -> None:
        """Deletes a file."""
        self._path(self.get(file_id).id).unlink(missing_ok=True)
        del self._files[file_id]

    async def footage(self, url: str, num_frames: int | None = None) -> Footage:
        """The frames that a model sees of a video.

        Args:
          url: A file's id, a ``data:`` URL, or ``http(s)`` on an allowed host.
          num_frames: How many; None: as many as the model sees.

        Raises:
          UserError: It is none of these, too large, forbidden, or no video.
        """
        return await self._frames(await self._fetch(url), num_frames or self._num_frames)

    async def _frames(self, content: bytes, count: int) -> Footage:
        name = f"{hashlib.sha256(content).hexdigest()} {count}"
        async with self._turns:
            footage = self._known.pop(name, None)
            if footage is None:
                footage = await asyncio.to_thread(self._decode, content, count)
            self._known[name] = footage
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return footage

    async def _fetch(self, url: str) -> bytes:
        if is_file_id(url):
            return self.content(url)
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            return self._from_data_url(url)
        if scheme in ("http", "https"):
            return await self._from_host(url)
        raise DataError(
            f"the video '{url[:60]}' is neither the id of an uploaded file (file-...), nor a data: URL, nor http(s)."
        )

    def _from_data_url(self, url: str) -> bytes:
        match = _DATA_URL.match(url[:200])
        if not match:
            raise DataError("the data: URL is not written as data:video/mp4;base64,....")
        body = url[match.end() :]
        if len(body) > self.limits.max_bytes * 4 // 3 + 4:
            self._check_size(len(body) * 3 // 4)
        try:
            content = base64.b64decode(body, validate=True) if match["base64"] else unquote_to_bytes(body)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"the data: URL holds no base64 ({error}).") from error
        self._check_size(len(content))
        return content

    async def _from_host(self, url: str) -> bytes:
        """Fetches from a host that is on the list; a redirect is not followed, wherever it leads."""
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
            async with self._client.stream("GET", url) as response:
                if response.is_redirect:
                    raise Forbidden(f"'{named}' redirects elsewhere, which is not followed; upload the file instead.")
                if response.status_code != 200:
                    raise DataError(f"'{named}' answers {response.status_code} for this video.")
                content = bytearray()
                async with asyncio.timeout(self.limits.fetch_seconds):
                    async for piece in response.aiter_raw():
                        content += piece
                        self._check_size(len(content))
        except (httpx.HTTPError, TimeoutError) as error:
            raise DataError(f"the video cannot be fetched from '{named}' ({type(error).__name__}).") from error
        return bytes(content)

    def _check_size(self, size: int) -> None:
        if size > self.limits.max_bytes:
            raise TooLarge(f"the video has more than the {self.limits.max_bytes / 1e6:g} MB that it may have; cut it.")

    def _decode(self, content: bytes, num_frames: int) -> Footage:
        """Decodes in a process of its own, see ``decode_child``."""
        limits = {
            "num_frames": num_frames,
            "image_size": self._image_size,
            "max_pixels": self.limits.max_pixels,
            "max_seconds": self.limits.max_seconds,
            "memory_bytes": self.limits.decode_memory_bytes,
            "seconds": self.limits.decode_seconds,
        }
        with tempfile.NamedTemporaryFile(dir=self._directory.name) as file:
            file.write(content)
            file.flush()
            command = [sys.executable, "-m", "hilight_jax.serving.decode_child", file.name, json.dumps(limits)]
            try:
                done = subprocess.run(
                    command, capture_output=True, stdin=subprocess.DEVNULL, timeout=self.limits.decode_seconds + 10
                )
            except subprocess.TimeoutExpired as error:
                raise DataError(
                    f"the video took longer than {self.limits.decode_seconds:.0f} s to decode; give a shorter one."
                ) from error
        if done.returncode == 2:
            raise DataError(f"the video cannot be used: {done.stderr.decode(errors='replace')[-300:]}")
        if done.returncode:
            raise DecoderFailed(
                "the decoder was stopped while it read the video (more time or memory than it may take); try again, or "
                "give another video."
            )
        arrays = np.load(io.BytesIO(done.stdout), allow_pickle=False)
        return Footage("video", arrays["frames"], arrays["pictures"], arrays["numbers"], int(arrays["num_total"]))

    def _path(self, file_id: str) -> Path:
        return Path(self._directory.name) / file_id
