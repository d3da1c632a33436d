"""Frames of videos that nobody vouches for, decoded in processes of their own and remembered."""

import asyncio
import collections
import dataclasses
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hilight_jax.core.errors import DataError, UserError
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.serving.admission import Line

_REMEMBERED = 32
# What the decoder is told of the environment: no keys, for what it reads may take it over.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "VIRTUAL_ENV")
_LOG = logging.getLogger(__name__)


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
      max_waiting: Requests that may wait for one.
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
    max_waiting: int = 64
    allowed_hosts: tuple[str, ...] = ()
    fetch_seconds: float = 20.0


class NoRoom(UserError):
    """The server's disk takes nothing more."""


class DecoderFailed(UserError):
    """The decoder ended without a word: it was killed."""


class Decoding:
    """Decodes so many videos at a time, and remembers those that it decoded last."""

    def __init__(self, directory: Path, num_frames: int, image_size: int, limits: VideoLimits):
        """Remembers nothing yet.

        Args:
          directory: For videos that are in no file.
          num_frames: F, frames that a model sees of a video.
          image_size: Rows and columns of a frame.
          limits: What a video may cost.
        """
        self._directory, self._num_frames, self._image_size, self._limits = directory, num_frames, image_size, limits
        self._known: collections.OrderedDict[str, VideoClip] = collections.OrderedDict()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._line = Line(limits.decoders, limits.max_waiting, "for their videos to be decoded")

    async def frames(self, digest: str, video: Callable[[], bytes | Path], num_frames: int | None = None) -> VideoClip:
        """The frames of a video.

        Args:
          digest: Names its content.
          video: Its bytes or its file, asked for when its turn has come.
          num_frames: How many; None: as many as the model sees.

        Raises:
          DataError: It is no video, or costs more than it may.
          DecoderFailed: The decoder was killed.
          NoRoom: The disk is full.
          Busy: Too many videos wait.
        """
        count = num_frames or self._num_frames
        name = f"{digest} {count}"

        async def look() -> VideoClip:
            footage = self._known.pop(name, None)
            if footage is None:
                footage = await asyncio.to_thread(self._decode, video(), count)
            self._known[name] = footage
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return footage

        return await self._line.run(look)

    def close(self) -> None:
        """Ends what is being decoded."""
        for child in list(self._children):
            child.kill()

    def _decode(self, video: bytes | Path, num_frames: int) -> VideoClip:
        if isinstance(video, Path):
            return self._decode_file(video, num_frames)
        with tempfile.NamedTemporaryFile(dir=self._directory) as file:
            write(Path(file.name), video)
            return self._decode_file(Path(file.name), num_frames)

    def _decode_file(self, path: Path, num_frames: int) -> VideoClip:
        """Decodes in a process of its own, see ``decode_child``."""
        limits = {
            "num_frames": num_frames,
            "image_size": self._image_size,
            "max_pixels": self._limits.max_pixels,
            "max_seconds": self._limits.max_seconds,
            "memory_bytes": self._limits.decode_memory_bytes,
            "seconds": self._limits.decode_seconds,
        }
        command = [sys.executable, "-m", "hilight_jax.serving.videos.decode_child", str(path), json.dumps(limits)]
        environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            child = subprocess.Popen(command, env=environment, **pipes)
        except OSError as error:
            raise DecoderFailed(f"no decoder could be started ({error.strerror}); try again later.") from error
        self._children.add(child)
        try:
            result, said = child.communicate(timeout=self._limits.decode_seconds + 10)
        except subprocess.TimeoutExpired as error:
            raise DataError(
                f"the video took longer than {self._limits.decode_seconds:.0f} s to decode; give a shorter one."
            ) from error
        finally:
            child.kill()
            child.communicate()
            self._children.discard(child)
        if child.returncode == 2:
            raise DataError(f"the video cannot be used: {said.decode(errors='replace')[-300:]}")
        if child.returncode:
            _LOG.warning("a decoder ended with %d: %s", child.returncode, said.decode(errors="replace")[-2000:])
            raise DecoderFailed(
                "the decoder was stopped while it read the video (more time or memory than it may take); try again, or "
                "give another video."
            )
        arrays = np.load(io.BytesIO(result), allow_pickle=False)
        return VideoClip("video", arrays["frames"], arrays["pictures"], arrays["numbers"], int(arrays["num_total"]))


def write(path: Path, content: bytes) -> None:
    """Writes a video to the server's disk.

    Raises:
      NoRoom: It is full.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise NoRoom(f"the server cannot keep the video ({error.strerror}); try again later.") from error
