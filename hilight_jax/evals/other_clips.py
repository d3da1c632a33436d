"""Another clip in the place of a question's own: what a model that does not look would not notice."""

from typing import Any, NamedTuple


class Clips(NamedTuple):
    """The clips of one conversation, encoded.

    Attributes:
      features: what the model made of each.
      digests: a short name for the frames of each; equal frames have equal names.
    """

    features: tuple[Any, ...]
    digests: tuple[str, ...]

    @property
    def digest(self) -> str:
        """One name for all of them."""
        return "+".join(self.digests)


class OtherClips:
    """The last few different clips that went by."""

    def __init__(self, size: int):
        """Keeps up to ``size`` clips."""
        self._size = size
        self._kept: dict[str, Any] = {}

    def add(self, clips: Clips) -> None:
        """Remembers clips as the latest."""
        for digest, features in zip(clips.digests, clips.features, strict=True):
            self._kept.pop(digest, None)
            self._kept[digest] = features
        for digest in list(self._kept)[: -self._size]:
            del self._kept[digest]

    def instead_of(self, clips: Clips) -> tuple[Any, ...] | None:
        """As many others, none of them among ``clips``, the latest first; None while there are not enough."""
        others = [self._kept[digest] for digest in reversed(self._kept) if digest not in clips.digests]
        return tuple(others[: len(clips.features)]) if len(others) >= len(clips.features) else None
