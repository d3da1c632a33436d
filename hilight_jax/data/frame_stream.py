"""Reads a long video once, from its beginning to its end, as small frames with their times.

Times come from the container's clock, relative to the first shown frame; frames without a time follow the last one at
the usual rate. A broken packet is skipped. A file that ends early is read as far as it goes, and ``FrameStream.fault``
is then a sentence about it.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

import av
import av.container
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from hilight_jax.data.video import USUAL_RATE, Video, VideoError, open_video

LONGEST_SIDE = 320
FRAMES_PER_SECOND = 15.0
_SLACK = 0.9  # A frame that comes this share of the distance after the one before it is kept: clocks are rounded.
_LONGEST_STEP_BACK = 1.0  # Seconds: a clock that falls back further was set anew.


class SmallFrame(NamedTuple):
    """A frame of a stream.

    Attributes:
      seconds: from the first shown frame.
      pixels: uint8 [Y, X, C] RGB, upright, of one size over the whole stream.
    """

    seconds: float
    pixels: np.ndarray


class FrameStream:
    """Iterates once over the small frames of a video, in order of time.

    Attributes:
      total: seconds of the video as its header has them, or None; known once the iteration has begun.
      end: seconds of the last frame that was decoded.
      fault: a sentence about what was wrong with the file so far, else an empty string.
    """

    def __init__(self, video: Video, longest_side: int = LONGEST_SIDE, rate: float = FRAMES_PER_SECOND):
        """Prepares to read ``video``, a path or the bytes of a file; frames beyond ``rate`` a second are dropped."""
        self._video, self._longest_side, self._rate = video, longest_side, rate
        self.total: float | None = None
        self.end = 0.0
        self.fault = ""

    def __iter__(self) -> Iterator[SmallFrame]:
        """Yields the frames.

        Raises:
          VideoError: the file is missing, empty, no video, or has no frame that decodes.
        """
        with open_video(self._video) as (container, stream):
            stream.thread_type = "AUTO"
            self.total = _stated_seconds(container, stream)
            shrink, due, num_frames = _Shrinker(self._longest_side), -np.inf, 0
            for seconds, frame in self._timed(container, stream):
                num_frames += 1
                self.end = seconds
                if seconds >= due:
                    due = seconds + _SLACK / self._rate
                    yield SmallFrame(seconds, shrink(frame))
            if not num_frames:
                raise VideoError("the video stream has no frame that decodes.")
            if not self.fault and self.total and self.total - self.end > max(1.0, 0.02 * self.total):
                self.fault = f"its header says {self.total:.1f} seconds, but its last frame is at {self.end:.1f}."

    def _timed(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[float, av.VideoFrame]]:
        """Yields the frames that decode with rising seconds from the first one."""
        shift, latest = None, None
        for frame in self._decoded(container, stream):
            follows = 0.0 if latest is None else latest + 1 / USUAL_RATE
            if frame.time is None:
                seconds = follows
                self.fault = self.fault or f"it has frames without a time; each counts as 1/{USUAL_RATE:.0f} s."
            else:
                shift = follows - frame.time if shift is None else shift
                seconds = frame.time + shift
                if latest is not None and seconds <= latest:
                    if latest - seconds <= _LONGEST_STEP_BACK:
                        continue
                    shift, seconds = follows - frame.time, follows
                    self.fault = self.fault or f"its clock starts anew at {follows:.1f} s; later times follow on."
            latest = seconds
            yield seconds, frame

    def _decoded(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        num_broken, packets = 0, container.demux(stream)
        while True:
            try:
                packet = next(packets)
                frames = [] if packet.is_corrupt else packet.decode()
            except StopIteration:
                break
            except (av.error.InvalidDataError, av.error.ExternalError, av.error.UndefinedError):
                frames = []
                num_broken += 1
            except (av.error.FFmpegError, OSError) as error:
                self.fault = f"it cannot be read beyond {self.end:.1f} s ({error.strerror or error})."
                break
            yield from frames
        if num_broken:
            self.fault = self.fault or f"{num_broken} of its packets do not decode and were skipped."


class _Shrinker:
    """Makes frames small, upright and of the size of the first one."""

    def __init__(self, longest_side: int):
        self._longest_side, self._shape = longest_side, None
        self._converter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        turns = round(frame.rotation / 90) % 4  # Counter-clockwise, as phones write them.
        if self._shape is None:
            scale = min(1.0, self._longest_side / max(frame.width, frame.height))
            height, width = (max(2, round(scale * side)) for side in (frame.height, frame.width))
            self._shape = (width, height) if turns % 2 else (height, width)
        height, width = self._shape[::-1] if turns % 2 else self._shape
        small = self._converter.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), turns))


def _stated_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def name_of(video: Video) -> str:
    """Returns words for a video in a message: its path, or 'the video' for bytes."""
    return "the video" if isinstance(video, bytes) else os.fspath(video)
