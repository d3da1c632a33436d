"""A function of a whole batch on a mesh: every host knows all rows, its devices compute theirs, and all get all."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.host_rows import HostRows
from hilight_jax.core.mesh import batch_shards, replicated
from hilight_jax.core.mesh_context import under_mesh


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
