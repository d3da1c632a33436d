"""What a video may cost."""

import dataclasses


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
