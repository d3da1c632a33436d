"""Decodes the frames of a video file, or of its bytes in memory, at given frame numbers.

Frame numbers count the decoded frames in the order of their display; the header's count is not used. Clips in memory
are decoded once, whole. In a longer file the frames are found through the times of its packets, by seeking; where that
is not possible (times missing or repeated, packets that do not decode) the whole file is decoded, once to count and
once to fetch.
"""

import bisect
import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import av
import av.container
import av.error
import av.stream
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Float

from hilight_jax.core.errors import DataError

Video = bytes | str | os.PathLike
USUAL_RATE = 25.0  # Frames a second of a video without times.
_SMALL_BYTES = 64 * 2**20
# Containers whose index lists every frame: fewer packets than listed means that the end of the file is missing.
_INDEXED = "mov"
# A sound track may be a little longer than the pictures, and clocks are rounded.
_TOLERANCE_SECONDS = 0.5
_TRANSPORT_PACKETS = (188, 192, 204)


class VideoError(DataError):
    """A video cannot be decoded; the caller adds the video's name to the message."""


class VideoInfo(NamedTuple):
    """The results of decoding a whole video.

    Attributes:
      num_frames: Frames that decode.
      num_undecodable: Packets that do not.
      height: Rows.
      width: Columns.
      seconds: Time from the first to the end of the last frame; 0 when the file has no times.
      loss: A sentence if the end of the file is missing, else an empty string.
      codec: FFmpeg's name of the codec.
    """

    num_frames: int
    num_undecodable: int
    height: int
    width: int
    seconds: float
    loss: str
    codec: str


def decode(video: Video, choose: Callable[[int], Sequence[int] | np.ndarray]) -> np.ndarray:
    """Decodes the frames that ``choose`` selects.

    Args:
      video: The bytes of a video file, or its path.
      choose: Maps the number of frames n in the video to frame numbers 0 <= i < n, repeats allowed, in any order.

    Returns:
      uint8 RGB [number of indices, Y, X, 3].

    Raises:
      VideoError: The video is missing, empty, no video, cut short, or has no frame that decodes.
      IndexError: A frame number lies outside the video.
    """
    return _to_rgb(_select(video, choose))


def decode_timed(
    video: Video, choose: Callable[[int], Sequence[int] | np.ndarray]
) -> tuple[np.ndarray, Float[np.ndarray, " chosen"]]:
    """Decodes as ``decode``, and returns the seconds from the first frame of the video to each chosen one as well.

    Frames without times, as in a raw stream, count as 1/25 s each.
    """
    numbers: list[int] = []

    def with_first(num_frames: int) -> list[int]:
        numbers[:] = _checked(choose(num_frames), num_frames)
        return [0, *numbers]

    first, *frames = _select(video, with_first)
    times = [frame.time for frame in (first, *frames)]
    if None in times:
        return _to_rgb(frames), np.array(numbers) / USUAL_RATE
    return _to_rgb(frames), np.array(times[1:], float) - times[0]


def _select(video: Video, choose: Callable[[int], Sequence[int] | np.ndarray]) -> list[av.VideoFrame]:
    with open_video(video) as (container, stream):
        frame_bytes = 3 * stream.codec_context.width * stream.codec_context.height
        if isinstance(video, bytes) and 0 < stream.frames * frame_bytes <= _SMALL_BYTES:
            stream.thread_type = "NONE"
            frames = list(_frames(container, stream))
            indices = _checked(choose(len(frames)), len(frames))
            return [frames[i] for i in indices]
        timeline = _read_timeline(container, stream)
    if timeline is not None:
        indices = _checked(choose(len(timeline.times)), len(timeline.times))
        with open_video(video) as (container, stream):
            found = _seek_frames(container, stream, timeline, sorted(set(indices)))
        if found is not None:
            return [found[i] for i in indices]
    return _decode_in_order(video, choose)


def inspect(video: Video) -> VideoInfo:
    """Decodes a whole video and returns its facts; raises ``VideoError`` as ``decode`` does."""
    with open_video(video) as (container, stream):
        undecodable: list[av.Packet] = []
        num_frames, first, last = 0, None, None
        for frame in _frames(container, stream, undecodable):
            num_frames += 1
            if frame.time is not None:
                first = frame.time if first is None else first
                last = frame.time + float((frame.duration or 0) * stream.time_base)
        seconds = max(last - first, 0.0) if last is not None else 0.0
        loss = _missing_end(container, stream, last)
        codec = stream.codec_context
        return VideoInfo(num_frames, len(undecodable), codec.height, codec.width, seconds, loss, codec.name)


@contextlib.contextmanager
def open_video(video: Video) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a video and its first true video stream; FFmpeg's errors become sentences."""
    if isinstance(video, bytes):
        size, file = len(video), io.BytesIO(video)
    else:
        file = os.fspath(video)
        if not os.path.isfile(file):
            raise VideoError("the file does not exist; correct the path.")
        size = os.path.getsize(file)
    if not size:
        raise VideoError("the file is empty (0 bytes).")
    try:
        with av.open(file, metadata_errors="ignore") as container:
            pictures = av.stream.Disposition.attached_pic
            streams = [s for s in container.streams.video if not s.disposition & pictures]
            if not streams:
                kinds = sorted({s.type for s in container.streams}) or ["nothing"]
                raise VideoError(f"the file has no video stream (it holds {', '.join(kinds)}).")
            yield container, streams[0]
    except av.error.FFmpegError as error:
        raise VideoError(f"the file of {size} bytes is not a readable video ({error.strerror}).") from error


def _frames(
    container: av.container.InputContainer, stream: av.VideoStream, undecodable: list[av.Packet] | None = None
) -> Iterator[av.VideoFrame]:
    """Yields the frames that decode, and collects the packets that do not; raises if too few decode."""
    undecodable = [] if undecodable is None else undecodable
    num_packets = num_frames = 0
    for packet in _packets(container, stream):
        num_packets += bool(packet.size)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            undecodable.append(packet)
            continue
        num_frames += len(frames)
        yield from frames
    _check_complete(container, stream, num_packets)
    if not num_frames:
        raise VideoError(f"the video stream has no frame that decodes ({num_packets} packets were read).")
    if 2 * len(undecodable) > num_packets:
        raise VideoError(f"{len(undecodable)} of its {num_packets} packets do not decode.")


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Yields packets up to the end or the first unreadable place; a broken last packet is left out."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        if not packet.is_corrupt:
            yield packet


def _check_complete(container: av.container.InputContainer, stream: av.VideoStream, num_packets: int) -> None:
    if _INDEXED in container.format.name and num_packets < stream.frames:
        raise VideoError(f"the file is cut short: its header lists {stream.frames} frames, {num_packets} are there.")


class _Timeline(NamedTuple):
    """Times of the displayed packets, rising, and of the places where decoding can start."""

    times: list[int]
    key_times: list[int]
    key_positions: list[int]


def _read_timeline(container: av.container.InputContainer, stream: av.VideoStream) -> _Timeline | None:
    """Reads all packets without decoding; returns None if their times do not number the frames."""
    packets = [packet for packet in _packets(container, stream) if packet.size]
    _check_complete(container, stream, len(packets))
    shown = [packet for packet in packets if not packet.is_discard]
    keys = [packet for packet in packets if packet.is_keyframe]
    if not shown or not keys or any(packet.pts is None or packet.dts is None for packet in packets):
        return None
    times = sorted(packet.pts for packet in shown)
    if len(set(times)) < len(times):
        return None
    keys.sort(key=lambda packet: packet.pts)
    return _Timeline(times, [packet.pts for packet in keys], [packet.dts for packet in keys])


def _seek_frames(
    container: av.container.InputContainer, stream: av.VideoStream, timeline: _Timeline, indices: list[int]
) -> dict[int, av.VideoFrame] | None:
    """Fetches frames by number, rising; returns None if one of them is not at the time of its packet."""
    stream.thread_type = "AUTO"
    found: dict[int, av.VideoFrame] = {}
    frames, position = iter(()), None
    for i in indices:
        time = timeline.times[i]
        key = max(bisect.bisect_right(timeline.key_times, time) - 1, 0)
        if position is None or timeline.key_times[key] > position:
            container.seek(timeline.key_positions[key], stream=stream)
            frames = container.decode(stream)
        try:
            frame = next((frame for frame in frames if frame.pts is None or frame.pts >= time), None)
        except av.error.FFmpegError:
            return None
        if frame is None or frame.pts != time:
            return None
        found[i], position = frame, time
    return found


def _decode_in_order(video: Video, choose: Callable[[int], Sequence[int] | np.ndarray]) -> list[av.VideoFrame]:
    with open_video(video) as (container, stream):
        stream.thread_type = "AUTO"
        num_frames = sum(1 for _ in _frames(container, stream))
    indices = _checked(choose(num_frames), num_frames)
    wanted = set(indices)
    with open_video(video) as (container, stream):
        stream.thread_type = "AUTO"
        found = {i: frame for i, frame in enumerate(_frames(container, stream)) if i in wanted}
    return [found[i] for i in indices]


def _checked(indices: Sequence[int] | np.ndarray, num_frames: int) -> list[int]:
    indices = [int(i) for i in indices]
    for i in indices:
        if not 0 <= i < num_frames:
            raise IndexError(f"frame {i} was asked for, but the video has frames 0 to {num_frames - 1}.")
    return indices


def _to_rgb(frames: list[av.VideoFrame]) -> np.ndarray:
    """Converts frames to upright RGB; a stream that changes its size gets that of its first chosen frame."""
    height, width = frames[0].height, frames[0].width
    quarter_turns = round(frames[0].rotation / 90) % 4  # Counter-clockwise, as phones write them.
    converter = VideoReformatter()
    pictures = np.empty((len(frames), height, width, 3), np.uint8)
    for row, frame in enumerate(frames):
        if row and frame is frames[row - 1]:
            pictures[row] = pictures[row - 1]
        else:
            pictures[row] = converter.reformat(frame, width, height, "rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(pictures, quarter_turns, axes=(1, 2)))


def _missing_end(container: av.container.InputContainer, stream: av.VideoStream, end: float | None) -> str:
    """Returns a sentence if the end of a video is missing though the rest decodes, else an empty string.

    An mp4 that is cut short does not decode (``_check_complete``). Matroska, WebM, AVI and FLV state their length in
    the header; an MPEG transport stream does not, but consists of packets of one size. The last frame that decodes ends
    at second ``end``, None when the file has no times.
    """
    kind = container.format.name
    if "mpegts" in kind:
        if container.size > 0 and all(container.size % size for size in _TRANSPORT_PACKETS):
            return f"its {container.size} bytes end within a packet of the transport stream."
        return ""
    stated = None if "mov" in kind else _stated_seconds(container, stream)
    if stated is None or end is None:
        return ""
    frame = 1 / float(stream.average_rate) if stream.average_rate else 0.0
    if stated - end <= _TOLERANCE_SECONDS + frame:
        return ""
    return f"its header says {stated:.1f} seconds, but its last frame is at {end:.1f}: the end is missing."


def _stated_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Seconds from the beginning to the end of the video as the file's header has them."""
    if "avi" in container.format.name:  # FFmpeg shortens an AVI's duration to what the file holds.
        return stream.frames / float(stream.average_rate) if stream.frames and stream.average_rate else None
    for name, value in stream.metadata.items():  # Matroska's length of this one track: "00:00:03.000000000".
        if name.startswith("DURATION") and len(parts := value.split(":")) == 3:
            return sum(float(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=True))
    return container.duration / av.time_base if container.duration else None
