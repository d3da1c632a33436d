"""The rows of a global batch that this host holds, and functions of a batch that every host holds whole.

Hosts need not hold consecutive rows, nor rows of their own: several hosts hold the same ones where the axis ``tensor``
goes across hosts, and meshes of several slices are in an order of their own.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import batch_sharding, batch_shards, replicated
from hilight_jax.core.mesh_context import under_mesh


class HostRows:
    """The rows of one host in batches of one size.

    Attributes:
      numbers: int64 [B]; the numbers of its rows in the global batch, in order.
      counted: bool [B]; whether it is the first host to hold a row, for sums over hosts.
    """

    def __init__(self, mesh: Mesh, batch_size: int, process: int | None = None):
        """Asks the mesh for the rows of ``process``, by default this one.

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
        """Makes a global array [batch size, ...] of this host's rows and those of the others."""
        shape = (self._size, *local.shape[1:])
        return jax.make_array_from_callback(shape, self._sharding, functools.partial(self._piece, local))

    def place_all(self, whole: np.ndarray) -> jax.Array:
        """The same of a batch of which every host has all rows."""
        return self.place(whole[self.numbers])

    def _piece(self, local: np.ndarray, index: tuple[slice, ...]) -> np.ndarray:
        start, stop, _ = index[0].indices(self._size)
        first = np.searchsorted(self.numbers, start)
        return local[first : first + stop - start]


def on_mesh(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns ``function(params, *arrays)`` for parameters on ``mesh`` and whole batches of numpy arrays.

    What it gives must have the rows of the batch, too. Any number of rows will do: the batch is filled up with copies
    of its last row to what the mesh can cut.
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
