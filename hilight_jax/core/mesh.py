"""The one device mesh of the project: axes ``data``, ``fsdp`` and ``tensor``, the batch over the first two.

Slices of a pod are joined by a network far slower than their own links: ``data`` goes across slices, ``fsdp`` and
``tensor`` stay inside one.

The trainer traces its step under its mesh, and activations are pinned to it. Elsewhere (one device, a tower's own
program, an export) there is no mesh, and activations are not pinned.
"""

import contextlib
import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis.

    ``data=-1`` takes every device that the other axes leave. ``fsdp=-1`` takes every device of a slice that the others
    leave; with both -1, ``data`` is the number of slices.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self):
        """Checks the axis sizes."""
        check(self, "mesh.", lambda x: x >= 1, "at least 1", "tensor")
        rule = "at least 1, or -1 for all remaining devices"
        check(self, "mesh.", lambda x: x >= 1 or x == -1, rule, "data", "fsdp")


def make_mesh(config: MeshConfig = MeshConfig(), devices: list | None = None) -> Mesh:
    """Builds the mesh over ``devices`` (default: all of them); over several slices, data parallel across them.

    The axes are Auto: under the Explicit axes that ``jax.make_mesh`` now defaults to, linen layers with
    tensor-parallel weights do not trace.

    Raises:
      ConfigError: The axis sizes do not multiply to the number of devices, or an inner axis would leave its slice.
    """
    devices = jax.devices() if devices is None else devices
    slices = number_of_slices(devices)
    shape = axis_sizes(config, len(devices), slices)
    return Mesh(_lay_out(shape, slices, devices), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def axis_sizes(config: MeshConfig, devices: int, slices: int = 1) -> tuple[int, int, int]:
    """Works out the sizes of the mesh axes.

    Raises:
      ConfigError: They do not multiply to the number of devices, or an inner axis would leave its slice.
    """
    data, fsdp, tensor = config.data, config.fsdp, config.tensor
    if fsdp == -1:
        data = slices if data == -1 else data
        fsdp = devices // (data * tensor)
    elif data == -1:
        data = devices // (fsdp * tensor)
    asked = f"mesh.data={config.data}, mesh.fsdp={config.fsdp}, mesh.tensor={config.tensor}"
    if data * fsdp * tensor != devices or not devices:
        raise ConfigError(
            f"{asked} do not multiply to the {devices} devices present; change mesh.fsdp or mesh.tensor to divisors of "
            f"{devices}."
        )
    if data % slices:
        raise ConfigError(
            f"{asked} do not fit the {slices} slices of {devices // slices} devices each: mesh.data, which goes across "
            f"slices, is {data} but must be a multiple of {slices}; choose mesh.fsdp x mesh.tensor as a divisor of "
            f"{devices // slices}."
        )
    return data, fsdp, tensor


def _lay_out(shape: tuple[int, int, int], slices: int, devices: list) -> np.ndarray:
    """Lays axes along the links between devices: along whole sides of a slice where possible, else along parts.

    Raises:
      ConfigError: Parts of sides do not fit either.
    """
    inside, across = (shape[0] // slices, *shape[1:]), (slices, 1, 1)
    for split in (False, True):
        with contextlib.suppress(NotImplementedError):
            if slices == 1:
                return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=split)
            return mesh_utils.create_hybrid_device_mesh(inside, across, devices, allow_split_physical_axes=split)
    raise ConfigError(
        f"a mesh of {' x '.join(map(str, shape))} (data x fsdp x tensor) cannot be laid out along the links between "
        f"these {len(devices)} devices; choose mesh.fsdp and mesh.tensor as products of sides of a slice."
    )


def number_of_slices(devices: list) -> int:
    """Counts the slices of the devices; devices without a slice index are of one."""
    return len({getattr(device, "slice_index", 0) or 0 for device in devices})


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis over the batch axes of the mesh, everything else whole."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_shards(mesh: Mesh) -> int:
    """Number of pieces that a global batch is cut into."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def under_mesh(mesh: Mesh, function: Callable) -> Callable:
    """Returns ``function``, traced under ``mesh``."""

    def run(*arguments):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*arguments)

    return run


def current_mesh() -> AbstractMesh | None:
    """Returns the mesh that is traced under, or None without one of this project."""
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
