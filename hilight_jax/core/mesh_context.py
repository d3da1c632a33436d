"""What a model may know of the mesh that it runs on: that the batch is split over it, where there is one.

The trainer traces its step under its mesh. Outside of a trainer (one device, a tower's own program, an export) there is
no mesh, and nothing here does anything.
"""

from collections.abc import Callable

import jax
from jax.sharding import AbstractMesh, PartitionSpec

from hilight_jax.core.mesh import BATCH_AXES


def under_mesh(mesh: jax.sharding.Mesh, function: Callable) -> Callable:
    """Returns ``function``, traced under ``mesh``."""

    def run(*arguments):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*arguments)

    return run


def ambient_mesh() -> AbstractMesh | None:
    """The mesh that is traced under, if it is one of ``core.mesh``."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh if set(BATCH_AXES) <= set(mesh.axis_names) else None


def platform() -> str:
    """Where the program that is traced will run: ``cpu``, ``gpu`` or ``tpu``; a mesh may be of a machine elsewhere."""
    mesh = ambient_mesh()
    return jax.default_backend() if mesh is None else mesh.abstract_device.platform


def split_over_batch(x: jax.Array) -> jax.Array:
    """Pins the leading axis of activations to the mesh's batch axes, all others whole.

    The compiler finds this by itself in most places, but not behind a table whose width is split over ``fsdp``: it then
    goes on with tokens split by width and copies of the whole batch everywhere.
    """
    if ambient_mesh() is None:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES))
