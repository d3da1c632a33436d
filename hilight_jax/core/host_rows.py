"""The rows of a global batch that this host holds, and functions of a batch that every host holds whole.

The rows of a host need not be consecutive, as on meshes of several slices, nor its own alone: several hosts hold the
same rows where the axis ``tensor`` spans hosts.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import batch_sharding, batch_shards, replicated, under_mesh


class HostRows:
    """The rows of one host in batches of one size.

    Attributes:
      numbers: int64 [B]; the numbers of its rows in the global batch, in order.
      counted: bool [B]; True for rows that no earlier host holds, for sums over hosts.
    """

    def __init__(self, mesh: Mesh, batch_size: int, process: int | None = None):
        """Finds the rows of ``process``, by default this one, on the mesh.

        Raises:
          ConfigError: The batch does not divide over the devices.
        """
        process = jax.process_index() if process is None else process
        self._sharding, self._size = batch_sharding(mesh), batch_size
        if batch_size % batch_shards(mesh):
            raise ConfigError(
                f"the global batch of {batch_size} does not divide over the {batch_shards(mesh)} pieces that the mesh "
                "cuts it into (mesh.data x mesh.fsdp); choose a multiple."
            )
        holders = np.full(batch_size, np.iinfo(np.int64).max)
        held = np.zeros(batch_size, bool)
        for device, (rows,) in self._sharding.devices_indices_map((batch_size,)).items():
            holders[rows] = np.minimum(holders[rows], device.process_index)
            held[rows] |= device.process_index == process
        self.numbers = np.flatnonzero(held)
        self.counted = holders[self.numbers] == process

    def place(self, local: np.ndarray) -> jax.Array:
        """Makes a global array [batch size, ...] of the rows of all hosts; ``local`` holds this host's."""
        shape = (self._size, *local.shape[1:])
        return jax.make_array_from_callback(shape, self._sharding, functools.partial(self._piece, local))

    def place_all(self, whole: np.ndarray) -> jax.Array:
        """Makes the global array of a batch that is the same on every host."""
        return self.place(whole[self.numbers])

    def _piece(self, local: np.ndarray, index: tuple[slice, ...]) -> np.ndarray:
        start, stop, _ = index[0].indices(self._size)
        first = np.searchsorted(self.numbers, start)
        return local[first : first + stop - start]


def on_mesh(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs ``function(params, *arrays)`` on a batch that is replicated on every host; the results are replicated too.

    Results have the rows of the batch, whose number need not divide over the mesh: copies of the last row fill it up.

    Returns:
      A function of parameters on ``mesh`` and numpy arrays, which returns numpy arrays.
    """
    compiled = jax.jit(under_mesh(mesh, function), out_shardings=replicated(mesh))
    shards = batch_shards(mesh)

    def run(params: Any, *arrays: Any) -> Any:
        count = len(jax.tree.leaves(arrays)[0])
        size = -(-count // shards) * shards
        rows = HostRows(mesh, size)
        filled = np.minimum(np.arange(size), count - 1)
        placed = jax.tree.map(lambda x: rows.place_all(x[filled]), arrays)
        return jax.tree.map(lambda x: np.asarray(x)[:count], compiled(params, *placed))

    return run
