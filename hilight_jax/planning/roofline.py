"""The least time of a step: its products at the chip's peak, or its bytes at the bandwidth of the memory."""

import dataclasses

from hilight_jax.planning.hlo import kernel_costs
from hilight_jax.planning.topologies import Chip


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Bounds of a step, an estimate without links between chips, waiting and imperfect kernels.

    Attributes:
      flops: FLOPs of one chip's program, recomputation included, as the compiler counts.
      bytes: Bytes that it reads and writes, as the compiler counts; kernels by their operands and results.
      compute_seconds: Time of the FLOPs at the peak of the matrix units.
      memory_seconds: Time of the bytes at the bandwidth of the memory.
      mfu_bound: Model FLOPs at the peak, over the larger of the two.
      kernels: Calls of our own kernels in a step.
      kernel_bytes: Bytes of their operands and results.
    """

    flops: float
    bytes: float
    compute_seconds: float
    memory_seconds: float
    mfu_bound: float
    kernels: int
    kernel_bytes: float

    @property
    def seconds(self) -> float:
        """Least time of a step."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def limit(self) -> str:
        """The larger of both times, by name."""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory bandwidth"


def roofline(
    analysis: dict[str, float], text: str, chip: Chip, chips: int, model_flops: float, rounds: int = 1
) -> Roofline:
    """The roofline of a program without loops; the compiler counts a loop's body once.

    Args:
      analysis: The compiler's cost analysis of one chip's program.
      text: The program.
      chip: Peaks of each chip.
      chips: Number of chips.
      model_flops: FLOPs of one step over the global batch, without recomputation.
      rounds: Runs of the program in a step: its micro-batches.
    """
    kernels = {name: value * rounds for name, value in kernel_costs(text).items()}
    flops = analysis.get("flops", 0.0) * rounds
    moved = analysis.get("bytes accessed", 0.0) * rounds + kernels["bytes"] - kernels["declared_bytes"]
    compute, memory = flops / chip.peak_flops, moved / chip.bandwidth
    bound = model_flops / chips / chip.peak_flops / max(compute, memory)
    return Roofline(flops, moved, compute, memory, bound, int(kernels["calls"]), kernels["bytes"])
