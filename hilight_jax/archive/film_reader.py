"""Reads one film of an archive in a worker process: its content's hash, its pieces, and what is wrong with it."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from typing import NamedTuple

import av.error

from hilight_jax.archive.films import Film
from hilight_jax.data.films.reader import PieceReader, ReadPiece
from hilight_jax.data.films.timeline import Timeline
from hilight_jax.data.video import VideoError

_REPORT_SECONDS = 1.0
_HASHED_BYTES = 2**22


class Position(NamedTuple):
    """The share of a film that is read."""

    share: float


class FilmRead(NamedTuple):
    """The end of a film.

    Attributes:
      hash: SHA-256 of the file; empty when it cannot be read.
      seconds: Its length.
      faults: Sentences about its damage.
      changed: True if the file was written while it was read.
      same: True if its content is the one that was known; it is not read then.
    """

    hash: str
    seconds: float
    faults: tuple[str, ...]
    changed: bool = False
    same: bool = False


@dataclasses.dataclass(frozen=True)
class FilmReader:
    """Reads films: ``reader(film, send)`` sends every ``ReadPiece`` and now and then a ``Position``.

    Attributes:
      read: Cuts a film into pieces.
    """

    read: PieceReader

    def __call__(self, film: Film, send: Callable[[ReadPiece | Position], None]) -> FilmRead:
        """Reads one film."""
        reported = time.monotonic()

        def report(share: float) -> None:
            nonlocal reported
            if time.monotonic() - reported >= _REPORT_SECONDS:
                reported = time.monotonic()
                send(Position(share))

        faults: list[str] = []
        digest, seconds = "", 0.0
        try:
            digest = _hash(film.path, report)
            if digest == film.known_hash:
                return FilmRead(digest, 0.0, (), same=True)
            for part in self.read(film.path, report):
                if isinstance(part, Timeline):
                    seconds, faults = part.end, part.faults
                else:
                    send(part)
        except VideoError as error:
            faults = [*faults, str(error)]
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
            faults = [*faults, f"it cannot be read on ({error})."]
        return FilmRead(digest, seconds, tuple(faults), changed=not film.is_unchanged())


def _hash(path: str, report: Callable[[float], None]) -> str:
    """Returns the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_HASHED_BYTES):
            digest.update(block)
            report(0.0)
    return digest.hexdigest()
