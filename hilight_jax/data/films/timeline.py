"""Decodes chosen frames of a film in one streaming pass, in memory that hardly grows with its length.

The times of its packets are read first, without decoding. So the frames to show are known before the pass, and frames
that no other frame depends on are decoded only if they are chosen. Where the times of the packets do not number the
frames (times missing or repeated, packets that do not decode) the film is decoded twice, once to count and once to
fetch.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
import av.container
import av.error
import numpy as np
from jaxtyping import Float, Int

from hilight_jax.data.video import USUAL_RATE, Video, VideoError, missing_end, open_video, read_packets

_REPORT_FRAMES = 200  # Packets or frames between two reports of progress.


class FrameMissing(Exception):
    """A frame is not at the time of its packet; the film must be counted by decoding."""


class Timeline(NamedTuple):
    """The times of the frames of a film.

    Attributes:
      times: Seconds from the first shown frame to each, never falling.
      end: Seconds to the end of the last frame.
      stamps: Time stamps of the frames in the file's units, rising; None if they were counted by decoding.
      faults: Sentences about the film's damage.
    """

    times: Float[np.ndarray, " n"]
    end: float
    stamps: Int[np.ndarray, " n"] | None
    faults: list[str]


def stated_seconds(video: Video) -> float:
    """Returns the length of a video as its header has it, or else by the times of its packets; 0 without any.

    Raises:
      VideoError: The file cannot be opened as a video.
    """
    with open_video(video) as (container, _):
        if container.duration:
            return container.duration / av.time_base
    timeline = packet_timeline(video, lambda share: None)
    return 0.0 if timeline is None else timeline.end


def packet_timeline(video: Video, report: Callable[[float], None]) -> Timeline | None:
    """Reads the times of all packets; returns None if they do not number the frames.

    Args:
      video: The film.
      report: Called now and then with a number that grows.

    Raises:
      VideoError: The file cannot be opened as a video.
    """
    with open_video(video) as (container, stream):
        stamps = np.empty(1024, np.int64)
        count = num_packets = 0
        duration = keys = 0
        for packet in read_packets(container, stream):
            if not packet.size:
                continue
            num_packets += 1
            if num_packets % _REPORT_FRAMES == 0:
                report(0.0)
            if packet.pts is None or packet.dts is None:
                return None
            keys += packet.is_keyframe
            if packet.is_discard:
                continue
            if count == len(stamps):
                stamps = np.concatenate([stamps, np.empty_like(stamps)])
            stamps[count], duration = packet.pts, packet.duration or duration
            count += 1
        stamps = np.sort(stamps[:count])
        if not count or not keys or (np.diff(stamps) <= 0).any():
            return None
        base = float(stream.time_base)
        times = (stamps - stamps[0]) * base
        end = times[-1] + (duration * base or _usual_gap(times))
        faults = _faults(container, stream, num_packets, float(stamps[-1]) * base + duration * base)
        return Timeline(times, float(end), stamps, faults)


def decoded_timeline(video: Video, report: Callable[[float], None]) -> Timeline:
    """Decodes the whole film for the times of the frames that decode; those without times count as 1/25 s each.

    Raises:
      VideoError: The file cannot be opened as a video, or no frame decodes.
    """
    with open_video(video) as (container, stream):
        stream.thread_type = "AUTO"
        times: list[float | None] = []
        failed: list[av.Packet] = []
        last = None
        for frame in _decoded(container, stream, failed):
            times.append(frame.time)
            last = frame
            if len(times) % _REPORT_FRAMES == 0:
                report(0.0)
        if last is None:
            raise VideoError("the video stream has no frame that decodes.")
        end = None if last.time is None else last.time + float((last.duration or 0) * stream.time_base)
        faults = _undecoded(failed) + _faults(container, stream, None, end)
    if None in times:
        faults.append(f"its frames have no times, so each counts as 1/{USUAL_RATE:.0f} s.")
        seconds = np.arange(len(times)) / USUAL_RATE
    else:
        stamps = np.array(times, float)
        if (np.diff(stamps) < 0).any():
            faults.append("the times of its frames run backwards in places; there they count as standing still.")
        seconds = np.maximum.accumulate(stamps) - stamps[0]
    return Timeline(seconds, float(seconds[-1] + _usual_gap(seconds)), None, faults)


def chosen_frames(
    video: Video, timeline: Timeline, chosen: Int[np.ndarray, " k"], report: Callable[[float], None], threads: int = 1
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields the frames of rising numbers ``chosen``, each with its number.

    Args:
      video: The film.
      timeline: Its timeline.
      chosen: Numbers of frames, rising, none twice.
      report: Called now and then with the share of the film that is decoded.
      threads: Threads that decode.

    Raises:
      FrameMissing: A frame is not at the time of its packet.
      VideoError: The file cannot be opened as a video.
    """
    with open_video(video) as (container, stream):
        stream.codec_context.thread_count = threads
        stream.thread_type = "AUTO" if threads > 1 else "NONE"
        if timeline.stamps is None:
            yield from _by_number(container, stream, timeline, chosen, report)
        else:
            yield from _by_stamp(container, stream, timeline, chosen, report)


def _by_stamp(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    timeline: Timeline,
    chosen: np.ndarray,
    report: Callable[[float], None],
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decodes in one pass; of the frames that no other one depends on only the chosen."""
    wanted = timeline.stamps[chosen]
    stamps = frozenset(wanted.tolist())
    failed: list[av.Packet] = []
    position = 0

    def choose(packet: av.Packet) -> None:
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in stamps or not packet.size else "NONREF"

    for count, frame in enumerate(_decoded(container, stream, failed, choose)):
        if count % _REPORT_FRAMES == 0:
            report(position / len(chosen))
        if frame.pts is None or frame.pts > wanted[position]:
            raise FrameMissing
        if frame.pts == wanted[position]:
            yield int(chosen[position]), frame
            position += 1
            if position == len(chosen):
                timeline.faults.extend(_undecoded(failed))
                return
    raise FrameMissing


def _by_number(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    timeline: Timeline,
    chosen: np.ndarray,
    report: Callable[[float], None],
) -> Iterator[tuple[int, av.VideoFrame]]:
    position = 0
    for number, frame in enumerate(_decoded(container, stream, [])):
        if number % _REPORT_FRAMES == 0:
            report(number / len(timeline.times))
        if number == chosen[position]:
            yield number, frame
            position += 1
            if position == len(chosen):
                return


def _decoded(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    failed: list[av.Packet],
    before: Callable[[av.Packet], None] | None = None,
) -> Iterator[av.VideoFrame]:
    """Yields the frames that decode, and collects the packets that do not; ``before`` is called with every packet."""
    for packet in read_packets(container, stream):
        if before is not None:
            before(packet)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            failed.append(packet)
            continue
        yield from frames


def _undecoded(failed: list[av.Packet]) -> list[str]:
    return [f"{len(failed)} of its packets do not decode."] if failed else []


def _faults(
    container: av.container.InputContainer, stream: av.VideoStream, num_packets: int | None, end: float | None
) -> list[str]:
    """Sentences about an end that is missing."""
    if num_packets is not None and "mov" in container.format.name and num_packets < stream.frames:
        return [f"the file is cut short: its header lists {stream.frames} frames, {num_packets} are there."]
    loss = missing_end(container, stream, end)
    return [loss] if loss else []


def _usual_gap(times: np.ndarray) -> float:
    """Seconds of the last frame, which nothing follows."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 1 / USUAL_RATE
