"""Writes lazy arrays with orbax: each is read, written and dropped before the next is read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from hilight_jax.core import trees
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.progress import Progress

# Pieces that an array is stored in, so that neither writing nor reading one takes much more memory than the array.
_PIECE_BYTES = 2**27


class LazyArrayHandler(ocp.type_handlers.NumpyHandler):
    """Stores a ``LazyArray`` as orbax stores a numpy array; what comes back is one."""

    def __init__(self):
        super().__init__(deepcopy_host_arrays=False)  # Nothing else changes arrays that are read for this.
        self._chunks: list[int] | None = None

    async def serialize(
        self,
        values: Sequence[LazyArray],
        infos: Sequence[ocp.type_handlers.ParamInfo],
        args: Sequence[ocp.SaveArgs] | None = None,
    ) -> Sequence[Any]:
        """Writes all of them, one after the other; nothing is left to wait for."""
        args = args or [ocp.SaveArgs()] * len(values)
        for value, info, arg in zip(values, infos, args, strict=True):
            self._chunks = _chunks(value, arg)
            for written in await super().serialize([value.read()], [info], [arg]):
                written.result()
        return []

    async def _open_and_write(self, value: np.ndarray, tspec: dict[str, Any], ts_context: Any) -> None:
        """Sets the pieces of an axis: orbax alone would make them one row each."""
        if self._chunks:
            tspec["metadata"]["chunks"] = self._chunks
        await super()._open_and_write(value, tspec, ts_context)


def _chunks(value: LazyArray, args: ocp.SaveArgs) -> list[int] | None:
    """The shape of a piece, where an axis is named: ``chunk_byte_size`` gives the number; large ones are cut again."""
    if not args.shard_axes:
        return None
    (axis,), asked = args.shard_axes, value.nbytes // args.chunk_byte_size
    length = value.shape[axis]
    counts = (n for n in range(asked, length, asked) if length % n == 0 and value.nbytes // n <= _PIECE_BYTES)
    return [length // next(counts, length) if i == axis else size for i, size in enumerate(value.shape)]


def type_handlers() -> ocp.type_handlers.TypeHandlerRegistry:
    """Orbax's own types and ``LazyArray``."""
    types = ocp.type_handlers
    known = [(kind, types.get_type_handler(kind)) for kind in types.supported_types()]
    return types.create_type_handler_registry((LazyArray, LazyArrayHandler()), *known)


def save_args(tree: Mapping[str, Any], pieces: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """The pieces to store each array of a part in: arrays of jax by their sharding, lazy ones where they are large.

    ``pieces`` gives, by path, the axis and number of pieces of lazy arrays that as many hosts read one each of.
    """

    def args(path: str, leaf: Any) -> ocp.SaveArgs:
        if not isinstance(leaf, LazyArray):
            return ocp.SaveArgs()
        axis, count = pieces.get(path, (None, 1))  # The axis divides by the count, see ``storage_axes``.
        if axis is not None:
            return ocp.SaveArgs(chunk_byte_size=leaf.nbytes // count, shard_axes=(axis,))
        return ocp.SaveArgs(chunk_byte_size=_PIECE_BYTES)

    return trees.map_with_path(args, tree)


def with_progress(tree: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The same lazy arrays, which advance a progress line in megabytes as they are read."""
    total, megabyte = sum(leaf.nbytes for leaf in trees.flatten(tree).values()), 10**6
    progress, read, shown = Progress(-(-total // megabyte), what, "MB"), 0, 0

    def counted(x: np.ndarray) -> np.ndarray:
        nonlocal read, shown
        read += x.nbytes
        done = -(-read // megabyte) if read >= total else read // megabyte
        if done > shown:
            progress.update(done - shown)
            shown = done
        return x

    return trees.map_with_path(lambda _, leaf: leaf.map(counted, leaf.shape), tree)
