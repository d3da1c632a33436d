"""Generations of TPU: what a chip has, and how slices of it are named.

Peaks are those of Google's pages docs.cloud.google.com/tpu/docs/v4, .../v5e, .../v5p and .../v6e, as are the slices;
memory is what the compiler lets a program have of the 32, 16, 95 and 32 GB named there (libtpu 0.0.42).
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One generation.

    Attributes:
      peak_flops: bfloat16 FLOP/s of a chip.
      bandwidth: Bytes a second between a chip and its memory.
      memory: Bytes of a chip that a program can have.
      grids: Chips along each side of the slices on offer.
      names: What Cloud calls its accelerator types, before the number.
      cores: What that number counts for each chip.
      options: What the compiler is told besides the grid.
    """

    peak_flops: float
    bandwidth: float
    memory: int
    grids: tuple[str, ...]
    names: tuple[str, ...]
    cores: int = 1
    options: tuple[tuple[str, str], ...] = ()


FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")

CHIPS = {
    "v4": Chip(
        275e12,
        1228e9,
        round(30.75 * 2**30),
        (*CUBES, "16x16x16"),
        ("v4",),
        cores=2,
        options=(("chip_config_name", "megacore"),),
    ),
    "v5e": Chip(197e12, 819e9, round(15.75 * 2**30), FLAT, ("v5e", "v5litepod")),
    "v5p": Chip(459e12, 2765e9, round(95.74 * 2**30), (*CUBES, "16x16x16", "16x16x24"), ("v5p",), cores=2),
    "v6e": Chip(918e12, 1638e9, round(31.25 * 2**30), FLAT, ("v6e",)),
}
