"""Provenance of a model's parts: a run saves the parts that it trained and names the runs that made the others.

``provenance.json`` in a working directory lists, for every part that the run took from another one, that run's working
directory, its step and a fingerprint of the values. So a run of 80 MB of adapters does not copy 11 GB of weights, and
a part that has been trained further, lost or exchanged since is reported by name.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hilight_jax.checkpoints.store import Store, Which
from hilight_jax.core import trees
from hilight_jax.core.atomic_files import read_object, write_object
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray

PROVENANCE = "provenance.json"
_SAMPLES = 1024  # Values of each array that enter a fingerprint.


@dataclasses.dataclass(frozen=True)
class Origin:
    """The run that a part was taken from."""

    workdir: str
    step: int
    fingerprint: str


def load_part(workdir: str | Path, part: str, which: Which | int = "latest") -> tuple[dict[str, Any], Origin]:
    """Loads one part of the model of a run, from its checkpoint or from the runs that it was built on.

    Args:
      workdir: Working directory of any stage.
      part: A top-level name of the parameters, such as ``vision`` or ``gemma``.
      which: The ``best`` or ``latest`` step of this run, or its number.

    Raises:
      CheckpointError: The run has no such part or no checkpoint, or a part is no longer what the run was built on.
    """
    workdir = Path(workdir).resolve()
    store, step = _open_step(workdir, which)
    origin, origins = None, read_provenance(workdir)
    tree: dict[str, Any] = {}
    if part in origins:
        tree, origin = load_known(part, origins[part])
    if part in store.param_shapes(step):
        own = store.restore_params(step, only=part)[part]
        tree = trees.unflatten(trees.flatten(tree) | trees.flatten(own))
        origin = Origin(str(workdir), step, fingerprint(tree))
    store.close()
    if origin is None:
        raise CheckpointError(f"the run '{workdir}' has no part '{part}'; name the run that trained it.")
    return tree, origin


def load_known(part: str, origin: Origin) -> tuple[dict[str, Any], Origin]:
    """Loads a part from its recorded place, and checks that its values have not changed.

    Raises:
      CheckpointError: It is gone or has changed.
    """
    try:
        tree, found = load_part(origin.workdir, part, origin.step)
    except CheckpointError as error:
        raise CheckpointError(
            f"the part '{part}' was taken from step {origin.step} of '{origin.workdir}', which cannot be read: {error}"
        ) from error
    _check_same(part, origin, found.fingerprint)
    return tree, found


def read_provenance(workdir: str | Path) -> dict[str, Origin]:
    """The parts that a run took from others; none for a run that trained all of its own."""
    path = Path(workdir) / PROVENANCE
    if not path.is_file():
        return {}
    values = read_object(path, CheckpointError, "restore it from a copy, or train the run anew")
    try:
        return {part: _origin(Path(workdir).resolve(), origin) for part, origin in values.items()}
    except TypeError as error:
        raise CheckpointError(f"{path} is damaged; restore it from a copy, or train the run anew.") from error


def made_by(workdir: str | Path, part: str) -> Origin | None:
    """The run that made a part which this run took from others, through all of them; None for a run that took none."""
    origin = read_provenance(workdir).get(part)
    return origin and (made_by(origin.workdir, part) or origin)


def write_provenance(workdir: Path, origins: Mapping[str, Origin]) -> None:
    """Writes ``provenance.json`` in one piece, by the first process alone.

    Every place is written absolute and relative to ``workdir``: a run finds its sources after it was moved alone, and
    after a folder of runs was moved as a whole.
    """
    if jax.process_index():
        return
    workdir.mkdir(parents=True, exist_ok=True)
    values = {
        part: dataclasses.asdict(origin) | {"relative": os.path.relpath(origin.workdir, workdir.resolve())}
        for part, origin in origins.items()
    }
    write_object(workdir / PROVENANCE, values)


def _origin(workdir: Path, entry: Mapping[str, Any]) -> Origin:
    """An entry of the file, its place the one of the two that exists."""
    relative = entry.get("relative", "")
    found = Origin(**{name: value for name, value in entry.items() if name != "relative"})
    nearby = Path(os.path.normpath(workdir / relative))
    if relative and not Path(found.workdir).is_dir() and nearby.is_dir():
        return dataclasses.replace(found, workdir=str(nearby))
    return found


def lazy_part(
    workdir: str | Path, part: str, which: Which | int = "latest"
) -> tuple[dict[str, Any], Callable[[], None]]:
    """Like ``load_part``, with lazy arrays.

    Returns:
      The tree, and a check to call after all arrays were read: it compares them with their recorded fingerprints.

    Raises:
      CheckpointError: The run has no such part or no checkpoint; when called at the end, a part is no longer what the
        run was built on.
    """
    workdir = Path(workdir).resolve()
    store, step = _open_step(workdir, which)
    origins = read_provenance(workdir)
    flat: dict[str, Any] = {}
    checks = []
    if part in origins:
        origin = origins[part]
        elsewhere, check_there = lazy_part(origin.workdir, part, origin.step)
        watched = _Watched(elsewhere)
        flat = watched.flat
        checks = [check_there, lambda: _check_same(part, origin, watched.fingerprint())]
    if part in store.param_shapes(step):
        flat = flat | trees.flatten(store.lazy_params(step)[part])
    if not flat:
        raise CheckpointError(f"the run '{workdir}' has no part '{part}'; name the run that trained it.")

    def check() -> None:
        for one in checks:
            one()

    return trees.unflatten(flat), check


class _Watched:
    """The lazy arrays of a part, fingerprinted as they are read."""

    def __init__(self, tree: Mapping[str, Any]):
        self._seen: dict[str, bytes] = {}
        self._whole = trees.flatten(tree)
        self.flat = {path: self._watch(path, leaf) for path, leaf in self._whole.items()}

    def _watch(self, path: str, leaf: LazyArray) -> LazyArray:
        def read() -> np.ndarray:
            x = leaf.read()
            self._seen[path] = _sample(path, x)
            return x

        return LazyArray(leaf.shape, leaf.dtype, read)

    def fingerprint(self) -> str:
        """Returns the fingerprint of all arrays; reads those that have not been read."""
        for path in self._whole:
            if path not in self._seen:
                self.flat[path].read()
        return _digest(self._seen)


def fingerprint(tree: Mapping[str, Any]) -> str:
    """Hashes the values of a part: names, shapes, and samples of every array."""
    return _digest({path: _sample(path, leaf) for path, leaf in trees.flatten(tree).items()})


def _sample(path: str, leaf: Any) -> bytes:
    """The bytes of an array that enter a fingerprint: its name, shape, dtype and samples."""
    flat = np.asarray(leaf).reshape(-1)
    stride = max(1, flat.size // _SAMPLES) | 1  # Odd, so that it does not walk down one column.
    return f"{path} {tuple(leaf.shape)} {leaf.dtype};".encode() + np.ascontiguousarray(flat[::stride]).tobytes()


def _digest(samples: Mapping[str, bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(samples):
        digest.update(samples[path])
    return digest.hexdigest()


def _open_step(workdir: Path, which: Which | int) -> tuple[Store, int]:
    """The checkpoints of a run and one of them."""
    store = Store(workdir / "checkpoints", read_only=True)
    return store, store.resolve(which)


def _check_same(part: str, origin: Origin, found: str) -> None:
    if found != origin.fingerprint:
        raise CheckpointError(
            f"the part '{part}' was taken from step {origin.step} of '{origin.workdir}', whose values have changed "
            f"since; restore that run, or train this one anew."
        )
