"""Encoded videos that are kept in memory, as many as fit."""

import collections
import threading
from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np


class ComparedVideo(Protocol):
    """A video as texts are compared with it."""

    @property
    def embed(self) -> np.ndarray:
        """The embedding, a unit vector [E]."""

    @property
    def patches(self) -> Any:
        """The features of the patches, which named things are found in; None without local heads."""


class EncodedVideo(ComparedVideo, Protocol):
    """A video as the encoder returns it."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""


class KeptVideos:
    """Keeps the encoded videos used last, up to a number of bytes; may be used by several threads.

    A video never takes the place of one that the same request has used. So a request for more than fit, repeated,
    encodes only what did not fit.
    """

    def __init__(self, max_bytes: int):
        """Starts empty."""
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._videos: collections.OrderedDict[Hashable, EncodedVideo] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, used: set[Hashable]) -> EncodedVideo | None:
        """Returns a video if it is kept, and adds it to those that the request has used."""
        with self._lock:
            video = self._videos.get(key)
            if video is not None:
                self._videos.move_to_end(key)
                used.add(key)
            return video

    def put(self, key: Hashable, video: EncodedVideo, used: set[Hashable]) -> None:
        """Keeps a video if there is room beside those that the request has used."""
        with self._lock:
            self._drop(key)
            while self._num_bytes + video.nbytes > self._max_bytes and self._videos:
                oldest = next(iter(self._videos))
                if oldest in used:
                    return
                self._drop(oldest)
            if self._num_bytes + video.nbytes <= self._max_bytes:
                self._videos[key] = video
                self._num_bytes += video.nbytes
                used.add(key)

    def drop(self, key: Hashable) -> None:
        """Drops a video if it is kept."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        video = self._videos.pop(key, None)
        self._num_bytes -= 0 if video is None else video.nbytes
