"""Memory of a chip during a step, by kind."""

import dataclasses
import math
from typing import Any

import jax

from hilight_jax.planning.programs import Program
from hilight_jax.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one chip, as the compiler counts; the arguments are split by kind here."""

    trained: int  # Parameters that are trained.
    frozen: int  # Parameters that are not.
    optimizer: int
    batch: int  # The chip's examples.
    padding: int  # Added by layouts to these arguments.
    temporaries: int  # The larger workspace of the step and of the towers.
    outputs: int  # Results of the step that reuse no argument's buffer.
    code: int  # The programs.
    towers: int = 0  # Parameters of the towers, which run as a separate program.

    @property
    def total(self) -> int:
        """Sum of all kinds."""
        return sum(dataclasses.astuple(self))


def account(trainer: Trainer, step: Program, towers: Program | None = None) -> Memory:
    """Accounts for the memory of a compiled step, and of the towers' program if there is one."""
    found = step.compiled.memory_analysis()
    parts = arguments(trainer)
    outputs = found.output_size_in_bytes - found.alias_size_in_bytes
    padding = found.argument_size_in_bytes - sum(parts.values())
    # What the step does not read, such as frame features under grid pooling, is no argument of the program.
    parts["batch"] += min(padding, 0)
    memory = Memory(
        **parts,
        padding=max(padding, 0),
        temporaries=found.temp_size_in_bytes,
        outputs=outputs,
        code=found.generated_code_size_in_bytes,
    )
    if towers is None:
        return memory
    theirs = towers.compiled.memory_analysis()
    held = held_by_towers(towers)
    working = theirs.temp_size_in_bytes + theirs.argument_size_in_bytes - held + theirs.output_size_in_bytes
    return dataclasses.replace(
        memory,
        towers=held,
        temporaries=max(memory.temporaries, working),
        code=memory.code + theirs.generated_code_size_in_bytes,
    )


def arguments(trainer: Trainer) -> dict[str, int]:
    """Bytes of a chip's share of the step's arguments, without the padding of layouts."""
    shapes, placed = trainer.state_shapes, trainer.state_shardings
    return {
        "trained": bytes_of_shares(shapes.trained, placed.trained),
        "frozen": bytes_of_shares(shapes.frozen, placed.frozen),
        "optimizer": bytes_of_shares((shapes.step, shapes.optimizer), (placed.step, placed.optimizer)),
        "batch": sum(_share(x, x.sharding) for x in trainer.example_shapes().values()),
    }


def held_by_towers(towers: Program) -> int:
    """Bytes of the towers' parameters, which are replicated on every chip."""
    params = jax.tree.leaves(towers.compiled.args_info[0][0])
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in params)


def bytes_of_shares(shapes: Any, shardings: Any) -> int:
    """Bytes of one chip's shares of a tree."""
    return sum(jax.tree.leaves(jax.tree.map(_share, shapes, shardings)))


def _share(x: Any, sharding: Any) -> int:
    return math.prod(sharding.shard_shape(x.shape)) * x.dtype.itemsize
