"""Slices of TPU pods by grid or by Cloud name, and their devices as the compiler sees them."""

import dataclasses
import importlib.util
import itertools
import math
import operator
import os
from typing import Any

import jax
from jax.experimental import topologies

from hilight_jax.core.errors import ConfigError
from hilight_jax.planning.chips import CHIPS, Chip
from hilight_jax.planning.quiet import quiet

# The compiler asks no machine on the network, and several planners may run at once.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """One or several slices of one generation."""

    generation: str
    grid: str
    slices: int = 1

    @property
    def chip(self) -> Chip:
        """What each chip has."""
        return CHIPS[self.generation]

    @property
    def chips(self) -> int:
        """Of all slices."""
        return self.slices * size(self.grid)

    @property
    def name(self) -> str:
        """As the command line takes it."""
        return f"{self.generation}:{self.grid}" + (f" x {self.slices} slices" if self.slices > 1 else "")


def parse(text: str, slices: int = 1) -> Topology:
    """Reads ``v5e:16x16`` or a Cloud name such as ``v4-128``, whose number counts TensorCores on v4 and v5p.

    Raises:
      ConfigError: There is no such slice; those that exist are listed.
    """
    if slices < 1:
        raise ConfigError(f"--slices is {slices}, but must be at least 1.")
    colon = ":" in text
    name, _, wanted = text.partition(":" if colon else "-")
    generation = next((key for key, chip in CHIPS.items() if name in (key, *chip.names)), None)
    if generation is None:
        raise ConfigError(f"topology '{text}' names no known generation; name one of {', '.join(CHIPS)}: v5e:16x16.")
    chip = CHIPS[generation]
    for grid in chip.grids:
        if wanted == (grid if colon else str(size(grid) * chip.cores)):
            return Topology(generation, grid, slices)
    known = ", ".join(f"{generation}:{grid} ({cloud_name(chip, grid)})" for grid in chip.grids)
    raise ConfigError(f"topology '{text}' does not exist; {generation} comes as {known}.")


def size(grid: str) -> int:
    """Chips of a grid."""
    return math.prod(int(side) for side in grid.split("x"))


def whole_sides(grid: str) -> list[int]:
    """Chips of a line, of a plane, and of more sides of a grid: what an axis inside a slice can span; 1 at first."""
    found = list(itertools.accumulate(reversed([int(side) for side in grid.split("x")]), operator.mul, initial=1))
    return sorted(set(found))


def cloud_name(chip: Chip, grid: str) -> str:
    """The accelerator type of a slice."""
    return f"{chip.names[-1]}-{size(grid) * chip.cores}"


def devices(topology: Topology) -> list[Any]:
    """The devices of a slice that need not exist, one a chip.

    Raises:
      ConfigError: The TPU compiler is not installed, or refuses the slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            "the TPU compiler, libtpu, is not installed: pip install 'hilight_jax[tpu]', and set JAX_PLATFORMS=cpu "
            "where there is no TPU."
        )
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    options: dict[str, Any] = dict(topology.chip.options)
    if topology.slices > 1:
        options["num_slices"] = topology.slices
    name = f"{topology.generation}:{topology.grid}"
    if topology.grid in ("1x1", "2x4"):  # Slices that Cloud has on one host; all others have 4 chips a host.
        options["chips_per_host_bounds"] = (*map(int, topology.grid.split("x")), 1)
    jax.config.update("jax_platforms", "cpu")
    try:
        with quiet():
            found = topologies.get_topology_desc(name, platform="tpu", **options).devices
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the TPU compiler does not take {topology.name}: {reason}; choose another slice.") from error
    if len(found) != topology.chips:
        raise ConfigError(f"{topology.name} has {topology.chips} chips, but the compiler sees {len(found)} devices.")
    return list(found)
