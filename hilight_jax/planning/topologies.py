"""TPU chips, slices of pods by grid or by Cloud name, and their devices as the compiler sees them.

Peaks and slices are those of docs.cloud.google.com/tpu/docs/v4, .../v5e, .../v5p and .../v6e; memory is the part of the
32, 16, 95 and 32 GB named there that the compiler gives to a program (libtpu 0.0.42).
"""

import contextlib
import dataclasses
import importlib.util
import itertools
import math
import operator
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import topologies

from hilight_jax.core.errors import ConfigError

# The compiler looks for no TPU on the network, and several planners may run at once.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


@dataclasses.dataclass(frozen=True)
class Chip:
    """A chip of one generation of TPU."""

    peak_flops: float  # bfloat16 FLOP/s.
    bandwidth: float  # Bytes a second between the chip and its memory.
    memory: int  # Bytes that a program can use.
    grids: tuple[str, ...]  # Chips along each side of the slices on offer.
    names: tuple[str, ...]  # Prefixes of Cloud's accelerator types, before the number.
    cores: int = 1  # Units of that number in a chip: its TensorCores on v4 and v5p.
    options: tuple[tuple[str, str], ...] = ()  # Of the compiler, besides the grid.


FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")
MEGACORE = (("chip_config_name", "megacore"),)
CHIPS = {
    "v4": Chip(275e12, 1228e9, round(30.75 * 2**30), (*CUBES, "16x16x16"), ("v4",), cores=2, options=MEGACORE),
    "v5e": Chip(197e12, 819e9, round(15.75 * 2**30), FLAT, ("v5e", "v5litepod")),
    "v5p": Chip(459e12, 2765e9, round(95.74 * 2**30), (*CUBES, "16x16x16", "16x16x24"), ("v5p",), cores=2),
    "v6e": Chip(918e12, 1638e9, round(31.25 * 2**30), FLAT, ("v6e",)),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """One or several slices of one generation."""

    generation: str
    grid: str
    slices: int = 1

    @property
    def chip(self) -> Chip:
        """Peaks and memory of each chip."""
        return CHIPS[self.generation]

    @property
    def chips(self) -> int:
        """Number of chips in all slices."""
        return self.slices * size(self.grid)

    @property
    def name(self) -> str:
        """The name that the command line takes."""
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
    """Sizes of a mesh axis inside a slice: 1, the chips of a line, of a plane, and so on."""
    sides = map(int, reversed(grid.split("x")))
    return sorted(set(itertools.accumulate(sides, operator.mul, initial=1)))


def cloud_name(chip: Chip, grid: str) -> str:
    """The accelerator type of a slice."""
    return f"{chip.names[-1]}-{size(grid) * chip.cores}"


def devices(topology: Topology) -> list[Any]:
    """The devices of a slice, one a chip; no TPU is needed.

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
        with _quiet():
            found = topologies.get_topology_desc(name, platform="tpu", **options).devices
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the TPU compiler does not take {topology.name}: {reason}; choose another slice.") from error
    if len(found) != topology.chips:
        raise ConfigError(f"{topology.name} has {topology.chips} chips, but the compiler sees {len(found)} devices.")
    return list(found)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops what compiled libraries write to stderr: warnings of a TPU runtime that finds no TPU."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as away:
            os.dup2(away.fileno(), 2)
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
