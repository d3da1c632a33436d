"""Places of named things in a video, for ``/v1/locate``; runs the encoder alone."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from hilight_jax.core.errors import ConfigError
from hilight_jax.generation.locating import Finder, Located, locate, named_things
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.serving.protocol import MAX_PHRASES, LocateRequest
from hilight_jax.serving.videos.admission import AdmissionQueue
from hilight_jax.serving.videos.video_store import VideoStore


class LocatingService:
    """Requests to find things, which take their turn in a queue."""

    def __init__(self, finder: Finder | None, things: Sequence[str], videos: VideoStore, queue: AdmissionQueue):
        """Takes the finder, None where its run is missing, and the domain's things, which may be none."""
        self._finder, self._things, self._videos, self._queue = finder, tuple(things), videos, queue

    @property
    def available(self) -> bool:
        """True if there is a finder."""
        return self._finder is not None

    def warm_up(self) -> None:
        """Compiles both towers, if there is a finder."""
        if self._finder is not None:
            count, size = self._finder.num_frames, self._finder.image_size
            blank, numbers = np.zeros((count, size, size, 3), np.uint8), np.arange(count)
            locate(self._finder, VideoClip("", blank, blank, numbers, count, numbers / 25, (size, size)), ["ball"])

    async def locate(self, wanted: LocateRequest) -> dict[str, Any]:
        """Finds the phrases of a request, or what its text names, which may be nothing.

        Returns:
          ``width`` and ``height`` of the video as it is shown, ``num_total``, its frames, and ``data``: one entry a
          phrase, see ``Located``.

        Raises:
          ConfigError: This server has no encoder.
          UserError: The video cannot be used or has no such frame, a phrase names nothing, or the queue is full.
        """
        if self._finder is None:
            raise ConfigError("this server has no encoder: the run that its model sees with is gone.")
        finder, phrases = self._finder, wanted.phrases
        if phrases is None:
            phrases = named_things(wanted.text or "", self._things)
        clip = await self._videos.clip(wanted.video.url, wanted.frames, wanted.zoom)
        found: list[Located] = []
        if phrases:
            work = (locate, finder, clip, phrases[:MAX_PHRASES])
            found = await self._queue.run(lambda: asyncio.to_thread(*work))
        height, width = clip.size
        data = [{name: _plain(value) for name, value in each._asdict().items()} for each in found]
        return {"object": "list", "width": width, "height": height, "num_total": clip.num_total, "data": data}


def _plain(value: Any) -> Any:
    """Arrays as lists, fractions with four digits."""
    if isinstance(value, np.ndarray):
        return (value.astype(float).round(4) if value.dtype.kind == "f" else value).tolist()
    return value
