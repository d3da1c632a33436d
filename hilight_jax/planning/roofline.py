"""How fast a step could be at best: its products at the chip's peak, or its bytes at the bandwidth of the memory."""

import dataclasses
from typing import Any

from hilight_jax.planning.chips import Chip
from hilight_jax.planning.custom_calls import kernel_costs


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Bounds of a step, an estimate: links between chips, waiting and imperfect kernels are not in it.

    Attributes:
      flops: Of one chip's program, recomputation included, as the compiler counts.
      bytes: That it reads and writes, as the compiler counts; kernels by their operands and results.
      compute_seconds: At the peak of the matrix units.
      memory_seconds: At the bandwidth of the memory.
      mfu_bound: Model FLOPs at the peak, over the larger of the two.
      kernels: Calls of kernels of our own in a step.
      kernel_bytes: Their operands and results.
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
        """Of a step, at best."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def limit(self) -> str:
        """What limits the step."""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory bandwidth"


def roofline(
    analysis: dict[str, float], text: str, chip: Chip, chips: int, model_flops: float, rounds: int = 1
) -> Roofline:
    """The roofline of a program without loops; the compiler counts a loop's body once.

    Args:
      analysis: The compiler's cost analysis of one chip's program.
      text: The program.
      chip: What each chip has.
      chips: Their number.
      model_flops: Of one step over the global batch, nothing computed twice.
      rounds: How often a step runs the program: its micro-batches.
    """
    kernels = {name: value * rounds for name, value in kernel_costs(text).items()}
    flops = analysis.get("flops", 0.0) * rounds
    moved = analysis.get("bytes accessed", 0.0) * rounds + kernels["bytes"] - kernels["declared_bytes"]
    compute, memory = flops / chip.peak_flops, moved / chip.bandwidth
    bound = model_flops / chips / chip.peak_flops / max(compute, memory)
    return Roofline(flops, moved, compute, memory, bound, int(kernels["calls"]), kernels["bytes"])


def as_dict(found: Roofline) -> dict[str, Any]:
    """All figures by name."""
    return dataclasses.asdict(found) | {"seconds": found.seconds, "limit": found.limit}
