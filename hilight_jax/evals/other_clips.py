"""Another clip in the place of a question's own: what a model that does not look would not notice."""

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Named(Protocol):
    """A clip as a model sees it; equal clips have equal digests."""

    digest: str


Clip = TypeVar("Clip", bound=Named)


class OtherClips:
    """The last few different clips that went by."""

    def __init__(self, size: int):
        """Keeps up to ``size`` clips."""
        self._size = size
        self._kept: dict[str, Named] = {}

    def add(self, clips: Iterable[Named]) -> None:
        """Remembers clips as the latest."""
        for clip in clips:
            self._kept.pop(clip.digest, None)
            self._kept[clip.digest] = clip
        for digest in list(self._kept)[: -self._size]:
            del self._kept[digest]

    def instead_of(self, clips: tuple[Clip, ...]) -> tuple[Clip, ...] | None:
        """As many others, none of them among ``clips``, the latest first; None while there are not enough."""
        own = {clip.digest for clip in clips}
        others = [clip for digest, clip in reversed(self._kept.items()) if digest not in own]
        return tuple(others[: len(clips)]) if len(others) >= len(clips) else None
