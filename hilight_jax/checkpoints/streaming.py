"""How orbax writes lazy arrays: one is read, written and dropped before the next is read."""

from collections.abc import Mapping, Sequence
from typing import Any

import orbax.checkpoint as ocp

from hilight_jax.core import trees
from hilight_jax.core.lazy import LazyArray

# Pieces that an array is stored in, so that neither writing nor reading one takes much more memory than the array.
_PIECE_BYTES = 2**27


class LazyArrayHandler(ocp.type_handlers.NumpyHandler):
    """Stores a ``LazyArray`` as orbax stores a numpy array; what comes back is one."""

    def __init__(self):
        """Takes no copies: nobody else changes what was read for this."""
        super().__init__(deepcopy_host_arrays=False)

    async def serialize(
        self,
        values: Sequence[LazyArray],
        infos: Sequence[ocp.type_handlers.ParamInfo],
        args: Sequence[ocp.SaveArgs] | None = None,
    ) -> Sequence[ocp.future.Future]:
        """Writes all of them, one after the other; nothing is left to wait for."""
        args = args or [ocp.SaveArgs()] * len(values)
        for value, info, arg in zip(values, infos, args, strict=True):
            for written in await super().serialize([value.read()], [info], [arg]):
                written.result()
        return []


def type_handlers() -> ocp.type_handlers.TypeHandlerRegistry:
    """Orbax's own types and ``LazyArray``."""
    types = ocp.type_handlers
    known = [(kind, types.get_type_handler(kind)) for kind in types.supported_types()]
    return types.create_type_handler_registry((LazyArray, LazyArrayHandler()), *known)


def save_args(tree: Mapping[str, Any], pieces: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """How each array of a part is cut for storage: arrays of jax as their sharding says, lazy ones as follows.

    Args:
      tree: What is saved.
      pieces: By path, the axis and the number of pieces to cut a lazy array into, so that as many hosts read one each;
        other arrays are cut where they are large.
    """

    def args(path: str, leaf: Any) -> ocp.SaveArgs:
        if not isinstance(leaf, LazyArray):
            return ocp.SaveArgs()
        axis, count = pieces.get(path, (None, 1))
        limit = max(min(_PIECE_BYTES, -(-leaf.nbytes // count)), leaf.dtype.itemsize)
        return ocp.SaveArgs(chunk_byte_size=limit, shard_axes=() if axis is None else (axis,))

    return trees.map_with_path(args, tree)
