"""Decodes an untrusted video in its own process: ``python -m hilight_jax.serving.videos.decode_child FILE LIMITS``.

The process has limits on memory, time and files, and decodes one video. Only containers that hold their own pictures
are opened, because a playlist makes FFmpeg open the files that it names. Frames go to stdout as a numpy archive. An
error goes to stderr as one sentence, with exit code 2.
"""

import io
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from hilight_jax.core.errors import DataError, UserError
from hilight_jax.generation.video_clip import read_video_clip

# FFmpeg's demuxers of such containers; one demuxer has several of these names.
CONTAINERS = {"mov", "mp4", "m4a", "3gp", "matroska", "webm", "avi", "mpegts", "mpeg", "ogg", "gif", "flv", "asf"}


def main() -> int:
    """Decodes the video of the command line."""
    return run_limited(
        _decode, "the video takes more memory to decode than it may; give one of fewer or smaller frames."
    )


def run_limited(work: Callable[[Path, dict[str, Any]], None], too_large: str) -> int:
    """Runs the work of a child process on the file and under the limits of its command line; returns its exit code.

    Args:
      work: Is given both.
      too_large: The sentence about a file that takes too much memory.
    """
    path, limits = Path(sys.argv[1]), json.loads(sys.argv[2])
    limit_process(limits)
    try:
        work(path, limits)
    except UserError as error:
        sys.stderr.write(str(error))
        return 2
    except MemoryError:
        sys.stderr.write(too_large)
        return 2
    return 0


def _decode(path: Path, limits: dict[str, Any]) -> None:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError("it was deleted before it was read.") from error
    check(content, limits)
    clip = read_video_clip(content, limits["frames"], limits["image_size"], limits["zoom"])
    archive = io.BytesIO()
    named = {name: value for name, value in clip._asdict().items() if name not in ("name", "zoom")}
    np.savez(archive, **{name: value for name, value in named.items() if value is not None})
    sys.stdout.buffer.write(archive.getvalue())


def limit_process(limits: dict[str, float]) -> None:
    """Limits the memory and the CPU time of this process, and keeps it from writing files."""
    _limit(resource.RLIMIT_AS, limits["memory_bytes"])
    _limit(resource.RLIMIT_CPU, limits["seconds"])
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def check(video: bytes | Path, limits: dict[str, float]) -> None:
    """Refuses other containers, too large pictures and too long videos before a frame is decoded.

    Raises:
      DataError: The video is refused.
    """
    if isinstance(video, Path) and not video.is_file():
        raise DataError("it was deleted before it was read.")
    options = {"protocol_whitelist": "", "format_whitelist": ",".join(sorted(CONTAINERS))}
    try:
        file = io.BytesIO(video) if isinstance(video, bytes) else str(video)
        if isinstance(file, str):
            options["protocol_whitelist"] = "file"
        with av.open(file, "r", options=options, metadata_errors="ignore") as container:
            names = set(container.format.name.split(","))
            if not names & CONTAINERS:
                raise DataError(f"it is a file of the format {container.format.name}, which is no video.")
            if not container.streams.video:
                raise DataError("it has no video.")
            stream = container.streams.video[0]
            width, height = stream.codec_context.width, stream.codec_context.height
            seconds = (container.duration or 0) / av.time_base
    except av.error.FFmpegError as error:
        raise DataError(f"it is no video that can be read ({error.strerror}).") from error
    if width * height > limits["max_pixels"]:
        raise DataError(
            f"its frames have {width}x{height} pixels, but may have {int(limits['max_pixels']):,} in all; make it "
            f"smaller."
        )
    if seconds > limits["max_seconds"]:
        raise DataError(f"it is {seconds:.0f} s long, but may be {limits['max_seconds']:.0f} s; cut it.")


def _limit(kind: int, value: float) -> None:
    _, hard = resource.getrlimit(kind)
    value = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
    resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    sys.exit(main())
