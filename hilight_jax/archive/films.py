"""Lists the films of a directory or a manifest, and compares them with those that an index holds."""

import dataclasses
import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hilight_jax.core.errors import DataError

SUFFIXES = frozenset(
    ".3gp .avi .flv .h264 .264 .h265 .265 .hevc .ivf .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .nut .ogv .ts "
    ".vob .webm .wmv .y4m".split()
)


@dataclasses.dataclass(frozen=True)
class Film:
    """A file.

    Attributes:
      path: Absolute.
      size: Bytes.
      mtime_ns: Time of its last change, in nanoseconds.
      fault: A sentence if it cannot be a film, else empty; it has no size then.
      known_hash: SHA-256 of the content that an index holds of it; empty for a new file.
    """

    path: str
    size: int = -1
    mtime_ns: int = -1
    fault: str = ""
    known_hash: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        """Size and time of its last change: while both stay, the content is taken to be the same."""
        return self.size, self.mtime_ns

    def is_unchanged(self) -> bool:
        """Returns True if the file still has its stamp."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == self.stamp


class Listing(NamedTuple):
    """The files of a place.

    Attributes:
      films: By path.
      left_out: Numbers of files of other kinds, by the ends of their names.
      unread: Sentences about directories that cannot be read.
    """

    films: list[Film]
    left_out: Mapping[str, int]
    unread: list[str]


def list_films(place: str | Path) -> Listing:
    """Lists the films below a directory, or those that a manifest names.

    A manifest has a path on each line, or JSON lines with a key ``video``; paths are relative to its folder.

    Raises:
      DataError: There is no such place, a line names no file, or no film is there.
    """
    place = os.path.abspath(place)
    left_out: Counter[str] = Counter()
    unread: list[str] = []
    if os.path.isdir(place):
        paths = list(_below(place, left_out, unread))
    elif os.path.isfile(place):
        paths = list(dict.fromkeys(_named_in(place)))
    else:
        raise DataError(f"'{place}' does not exist; name a directory of films, or a file that lists some.")
    if not paths and not unread:
        others = f" It holds {sum(left_out.values())} other files." if left_out else ""
        raise DataError(f"there is no film in '{place}'; films end in {', '.join(sorted(SUFFIXES))}.{others}")
    return Listing([_film(path) for path in sorted(paths)], left_out, unread)


def share_of(films: list[Film], index: int, count: int) -> list[Film]:
    """Chooses the films of process ``index`` of ``count``, by a hash of their paths."""
    return [film for film in films if _number(film.path) % count == index]


def _number(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=8).digest())


def _below(place: str, left_out: Counter[str], unread: list[str]) -> Iterator[str]:
    def note(error: OSError) -> None:
        unread.append(f"{error.filename}: the directory cannot be read ({error.strerror}).")

    for folder, folders, names in os.walk(place, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES and not name.startswith("."):
                yield os.path.join(folder, name)
            else:
                left_out[suffix or name] += 1


def _named_in(manifest: str) -> Iterator[str]:
    try:
        lines = Path(manifest).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{manifest}' is no text in UTF-8; name a directory of films, or a file with a path on each line."
        ) from error
    folder = os.path.dirname(manifest)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        path = line
        if line.lstrip().startswith("{"):
            try:
                path = json.loads(line).get("video")
            except ValueError as error:
                raise DataError(f"{manifest}, line {number}, is not JSON ({error}); correct the line.") from error
        if not isinstance(path, str) or not path or "\0" in path:
            raise DataError(f"{manifest}, line {number}, names no file; it needs the key 'video' with a path.")
        yield os.path.normpath(os.path.join(folder, path))


def _film(path: str) -> Film:
    shown = os.fsencode(path).decode(errors="backslashreplace")
    if shown != path:
        return Film(shown, fault="its name is no text in UTF-8; rename the file.")
    try:
        found = os.stat(path)
    except OSError as error:
        return Film(path, fault=f"the file cannot be found ({error.strerror}); correct its path.")
    if not stat.S_ISREG(found.st_mode):
        return Film(path, fault="it is no regular file.")
    if not os.access(path, os.R_OK):
        return Film(path, fault="the file may not be read; change its permissions.")
    return Film(path, found.st_size, found.st_mtime_ns)
