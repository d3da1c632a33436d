"""Directories that appear when they are complete, and not before."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hilight_jax.core.errors import UserError

_SUFFIX = ".partial"


@contextlib.contextmanager
def whole_directory(path: Path, needed: int = 0) -> Iterator[Path]:
    """Gives an empty directory to write into, which becomes ``path`` when the block ends well.

    On an error nothing is left of it; a process that is killed leaves ``<path>.partial``, which the next one replaces.

    Args:
      path: Where the directory will be; nothing may be there yet.
      needed: Bytes that will be written, as far as is known.

    Raises:
      UserError: Something is there already, or the disk has not so many bytes left.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise UserError(f"'{path}' exists already; name a directory that does not, or move that one away.")
    partial = path.with_name(path.name + _SUFFIX)
    parent = next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir())
    stale = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file()) if partial.is_dir() else 0
    free = shutil.disk_usage(parent).free + stale
    if free < needed:
        raise UserError(
            f"'{path}' will take {needed / 1e9:.1f} GB, but its disk has {free / 1e9:.1f} GB left; free some space or "
            f"name another disk."
        )
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
