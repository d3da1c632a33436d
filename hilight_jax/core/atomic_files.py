"""Files and directories that appear complete or not at all."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hilight_jax.core.errors import UserError


def read_object(path: Path, error: type[UserError], advice: str) -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Raises:
      UserError: An ``error`` that names the file and ends in ``advice``, when the file holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise error(f"{path} is not JSON ({fault}); {advice}.") from fault
    if not isinstance(values, dict):
        raise error(f"{path} holds no JSON object; {advice}.")
    return values


def write_object(path: Path, values: Mapping[str, Any]) -> None:
    """Writes one JSON object as ``write_bytes`` does."""
    write_bytes(path, (json.dumps(values, indent=2) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file; a concurrent reader finds the complete old one or the complete new one."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


_SUFFIX = ".partial"
# The only entries of ``<path>.partial``: the directory while it is written, and its writer's lock.
_CONTENT, _LOCK = "content", "lock"


@contextlib.contextmanager
def whole_directory(path: Path, needed: int = 0) -> Iterator[Path]:
    """Yields an empty directory to write into, which becomes ``path`` when the block ends without an error.

    An error removes it; a killed process leaves ``<path>.partial``, which the next writer replaces.

    Args:
      path: The directory to create; it must not exist.
      needed: Estimate of the bytes that will be written.

    Raises:
      UserError: ``path`` exists, ``<path>.partial`` is being written or holds other files, or the disk is too small.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise UserError(f"'{path}' exists already; name a directory that does not, or move that one away.")
    partial = path.with_name(path.name + _SUFFIX)
    parent = next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(parent).free + _bytes_of_stale(partial)
    if free < needed:
        raise UserError(
            f"'{path}' will take {needed / 1e9:.1f} GB, but its disk has {free / 1e9:.1f} GB left; free some space or "
            f"name another disk."
        )
    partial.mkdir(parents=True, exist_ok=True)
    with open(partial / _LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"'{path}' is being written by another process; wait for it, or name another.") from error
        try:
            content = partial / _CONTENT
            shutil.rmtree(content, ignore_errors=True)
            content.mkdir()
            yield content
            os.replace(content, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _bytes_of_stale(partial: Path) -> int:
    """Counts the bytes that a killed process left.

    Raises:
      UserError: The directory holds other files, which are not to be deleted.
    """
    if not (partial.exists() or partial.is_symlink()):
        return 0
    ours = partial.is_dir() and not partial.is_symlink()
    if not ours or {place.name for place in partial.iterdir()} - {_CONTENT, _LOCK}:
        raise UserError(
            f"'{partial}' is where the new directory would be written, but something else is there; move it away, or "
            f"name another directory."
        )
    return sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
