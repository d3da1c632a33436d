"""The one device mesh of the project: axes ``data``, ``fsdp`` and ``tensor``, the batch over the first two."""

import dataclasses

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hilight_jax.core.errors import ConfigError

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; ``data=-1`` takes every device that the other axes leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self):
        """Checks the axis sizes."""
        for name in ("fsdp", "tensor"):
            if getattr(self, name) < 1:
                raise ConfigError(f"mesh.{name} is {getattr(self, name)}, but must be at least 1.")
        if self.data < 1 and self.data != -1:
            raise ConfigError(f"mesh.data is {self.data}, but must be at least 1, or -1 for all remaining devices.")


def make_mesh(config: MeshConfig = MeshConfig(), devices: list | None = None) -> Mesh:
    """Builds the mesh over ``devices`` (default: all of them).

    The axes are Auto: under the Explicit axes that ``jax.make_mesh`` now defaults to, linen layers with
    tensor-parallel weights do not trace.

    Raises:
      ConfigError: The axis sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    inner = config.fsdp * config.tensor
    data = len(devices) // inner if config.data == -1 else config.data
    if data * inner != len(devices) or data == 0:
        raise ConfigError(
            f"mesh.data={config.data}, mesh.fsdp={config.fsdp}, mesh.tensor={config.tensor} do not multiply to the "
            f"{len(devices)} devices present; change mesh.fsdp or mesh.tensor to divisors of {len(devices)}."
        )
    shape = (data, config.fsdp, config.tensor)
    return jax.make_mesh(shape, AXES, devices=devices, axis_types=(AxisType.Auto,) * len(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis over the batch axes of the mesh, everything else whole."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_shards(mesh: Mesh) -> int:
    """Number of pieces that a global batch is cut into."""
    return mesh.shape["data"] * mesh.shape["fsdp"]
