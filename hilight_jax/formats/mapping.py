"""Name tables between our parameter trees and foreign state dicts, used in both directions and strict by name.

A table is a tuple of ``Entry``. ``{layer}`` in a foreign name stands for the index of our leading stacked axis. Nothing
is dropped or left at its initial value in silence: every missing, extra or misshaped name is reported.

Names and shapes are checked before any array is read. Lazy arrays come out as lazy arrays, so that a model is converted
one array at a time; numpy arrays come out as numpy arrays.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray, Shared
from hilight_jax.core.trees import Tree, flatten, unflatten

Shape = tuple[int, ...]
# Numbers from which on a matrix is transposed in tiles, and the rows and columns of one.
_LARGE, _TILE = 1 << 20, (16, 1024)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layouts of one array on either side.

    Attributes:
      shape: The foreign shape of an array of our shape.
      to_ours: From the foreign array to ours.
      to_theirs: From our array to the foreign one; the exact inverse.
    """

    shape: Callable[[Shape], Shape]
    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]


def _patch(shape: Shape) -> Shape:
    """The torch shape of a flattened RGB patch kernel [size * size * 3, D]."""
    size = math.isqrt(shape[0] // 3)
    return shape[1], 3, size, size


def _transpose(x: np.ndarray) -> np.ndarray:
    """``x.T`` as an array of its own, in tiles that a cache holds: six times as fast as numpy's copy of a large one."""
    if x.ndim != 2 or x.size < _LARGE:
        return np.transpose(x)
    out = np.empty(x.shape[::-1], x.dtype)
    rows, columns = _TILE
    for i in range(0, x.shape[0], rows):
        for j in range(0, x.shape[1], columns):
            out[j : j + columns, i : i + rows] = x[i : i + rows, j : j + columns].T
    return out


SAME = Layout(lambda shape: shape, lambda x: x, lambda x: x)
# torch.nn.Linear keeps [out, in], flax [in, out].
LINEAR = Layout(lambda shape: shape[::-1], _transpose, _transpose)
# torch.nn.Conv2d over whole RGB patches keeps [D, C, row, column]; ours is a matrix with rows (row, column, C).
PATCH_CONV = Layout(
    _patch,
    lambda x: x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0]),
    lambda x: x.T.reshape(_patch(x.shape)[0], *_patch(x.shape)[2:], 3).transpose(0, 3, 1, 2),
)
# A leading axis of one.
LEADING_ONE = Layout(lambda shape: (1, *shape), lambda x: x[0], lambda x: x[None])


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of a name table: our path, the foreign name (``{layer}`` when stacked), and the layouts."""

    ours: str
    theirs: str
    layout: Layout = SAME

    @property
    def stacked(self) -> bool:
        """True where our array stacks one foreign array per layer."""
        return "{layer}" in self.theirs


def linear(ours: str, theirs: str) -> tuple[Entry, Entry]:
    """The rows of a linear map: kernel and bias."""
    return Entry(f"{ours}/kernel", f"{theirs}.weight", LINEAR), Entry(f"{ours}/bias", f"{theirs}.bias")


def norm(ours: str, theirs: str) -> tuple[Entry, Entry]:
    """The rows of a layer norm: scale and bias."""
    return Entry(f"{ours}/scale", f"{theirs}.weight"), Entry(f"{ours}/bias", f"{theirs}.bias")


def import_weights(table: Sequence[Entry], weights: Mapping[str, np.ndarray], template: Tree) -> dict[str, Any]:
    """Builds our tree from foreign weights, every one of which must be used.

    The result has the paths, shapes and dtypes of ``template``, a tree of arrays or ``jax.ShapeDtypeStruct``. A part of
    the model (one tower) is imported by a template of that part.

    Raises:
      CheckpointError: Names are missing, left over, have another shape or hold whole numbers for real ones; all of them
        are listed.
    """
    entries = {entry.ours: entry for entry in table}
    problems, used, found = [], set(), {}
    for path, leaf in flatten(template).items():
        if path not in entries:
            problems.append(f"'{path}' has no foreign name in the table")
            continue
        expected = _expected(entries[path], tuple(leaf.shape))
        used |= set(expected)
        for name, shape in expected.items():
            if name not in weights:
                problems.append(f"'{name}' is missing")
            elif tuple(weights[name].shape) != shape:
                problems.append(f"'{name}' has shape {tuple(weights[name].shape)}, expected {shape} ('{path}')")
            elif _is_whole(weights[name]) and not _is_whole(leaf):
                problems.append(f"'{name}' holds {weights[name].dtype} numbers, and no scale for them is known")
        found[path] = [weights.get(name) for name in expected]
    problems += [f"'{name}' is not part of this model" for name in weights if name not in used]
    if problems:
        raise CheckpointError(_sentence("the weights do not fit the model", problems))
    return unflatten({path: _ours(entries[path], found[path], leaf) for path, leaf in flatten(template).items()})


def export_weights(table: Sequence[Entry], tree: Tree) -> dict[str, np.ndarray]:
    """The foreign weights of our tree: the inverse of ``import_weights``, bit for bit.

    Raises:
      CheckpointError: A path has no foreign name.
    """
    entries = {entry.ours: entry for entry in table}
    flat = flatten(tree)
    if unknown := [f"'{path}' has no foreign name in the table" for path in flat if path not in entries]:
        raise CheckpointError(_sentence("the parameters cannot be exported", unknown))
    weights: dict[str, Any] = {}
    for path, leaf in flat.items():
        weights |= _theirs(entries[path], leaf)
    return weights


def _ours(entry: Entry, arrays: Sequence[Any], leaf: Any) -> Any:
    """Our array, stacked where the entry is."""

    def read() -> np.ndarray:
        if not entry.stacked:
            return entry.layout.to_ours(np.asarray(arrays[0])).astype(leaf.dtype)
        whole = np.empty(leaf.shape, leaf.dtype)
        for layer, x in enumerate(arrays):
            whole[layer] = entry.layout.to_ours(np.asarray(x))
        return whole

    return LazyArray(leaf.shape, leaf.dtype, read) if any(isinstance(x, LazyArray) for x in arrays) else read()


def _theirs(entry: Entry, leaf: Any) -> dict[str, Any]:
    """The foreign arrays behind one of ours, by name."""
    expected = _expected(entry, tuple(leaf.shape))

    def convert(x: np.ndarray, shape: Shape) -> np.ndarray:
        return np.asarray(entry.layout.to_theirs(x), order="C").reshape(shape)

    if isinstance(leaf, LazyArray):
        shared = Shared(leaf, len(expected))
        return {
            name: shared.piece(lambda x, i=i, s=shape: convert(x[i] if entry.stacked else x, s), shape)
            for i, (name, shape) in enumerate(expected.items())
        }
    x = np.asarray(leaf)
    return {name: convert(x[i] if entry.stacked else x, s) for i, (name, s) in enumerate(expected.items())}


def _is_whole(x: Any) -> bool:
    """True for an array of whole numbers, as quantised weights are."""
    return np.dtype(x.dtype).kind in "iub"


def _expected(entry: Entry, shape: Shape) -> dict[str, Shape]:
    """Foreign names and shapes behind one of our arrays, in the order of the stacked axis."""
    if not entry.stacked:
        return {entry.theirs: entry.layout.shape(shape)}
    return {entry.theirs.format(layer=layer): entry.layout.shape(shape[1:]) for layer in range(shape[0])}


def _sentence(what: str, problems: Sequence[str]) -> str:
    return f"{what} ({len(problems)} name{'s' * (len(problems) > 1)}): {'; '.join(problems)}."
