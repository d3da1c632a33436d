"""Finds video files whose end is missing though all that is left of them decodes.

An mp4 lists its frames, and one that is cut short does not decode (``video.py``). Matroska, WebM, AVI and FLV say in
their header how long they are; an MPEG transport stream says nothing, but consists of packets of one size.
"""

import av
import av.container

# A sound track may be a little longer than the pictures, and clocks are rounded.
_TOLERANCE_SECONDS = 0.5
_TRANSPORT_PACKETS = (188, 192, 204)


def missing_end(container: av.container.InputContainer, stream: av.VideoStream, end: float | None) -> str:
    """Returns a sentence when the end of a video is missing, and an empty string otherwise.

    Args:
      container: The open file.
      stream: Its video.
      end: Seconds at which the last frame that decodes ends; None when the file has no times.
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
