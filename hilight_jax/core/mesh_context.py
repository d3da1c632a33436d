"""The mesh that a function is traced under, and the activations that are pinned to it.

The trainer traces its step under its mesh. Elsewhere (one device, a tower's own program, an export) there is no mesh,
and activations are not pinned.
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


def current_mesh() -> AbstractMesh | None:
    """Returns the mesh that is traced under, or None without one of ``core.mesh``."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh if set(BATCH_AXES) <= set(mesh.axis_names) else None


def platform() -> str:
    """Returns the platform that is traced for, ``cpu``, ``gpu`` or ``tpu``; a mesh may be of another machine's."""
    mesh = current_mesh()
    return jax.default_backend() if mesh is None else mesh.abstract_device.platform


def split_over_batch(x: jax.Array) -> jax.Array:
    """Pins the leading axis of activations to the mesh's batch axes, all others whole.

    The compiler infers this in most places, but not behind a table whose width is split over ``fsdp``: there it splits
    the tokens by width and copies the whole batch to every device.
    """
    if current_mesh() is None:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES))
