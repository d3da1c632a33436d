"""What to change in a run that does not fit."""

from hilight_jax.planning.topologies import Topology, whole_sides
from hilight_jax.training.run_config import RunConfig


def advice(config: RunConfig, topology: Topology, needed: int | None) -> str:
    """One sentence: what is too much, and each setting that helps, the cheapest first."""
    change = []
    if not config.model.compute.remat:
        change.append("keep only each layer's input (--config.model.compute.remat=true)")
    elif config.model.compute.remat_keeps:
        change.append("keep less of each layer (--config.model.compute.remat_keeps=())")
    if (fsdp := _next_fsdp(config, topology)) is not None:
        change.append(f"split parameters and optimiser further (--config.mesh.fsdp={fsdp})")
    smaller = config.batch_size // 2
    if smaller and smaller % topology.chips == 0:
        change.append(f"use a smaller batch (--config.batch_size={smaller})")
        change.append(f"or more micro-batches of it (--config.accumulate={2 * config.accumulate})")
    change.append(f"take more chips than {topology.chips}, or chips with more memory")
    amount = f"needs {needed / 2**30:.2f} GiB of a chip" if needed else "needs more than a chip"
    return (
        f"the run {amount}, which has {topology.chip.memory / 2**30:.2f} GiB: {'; '.join(change)}. --sweep tries the "
        f"first three."
    )


def _next_fsdp(config: RunConfig, topology: Topology) -> int | None:
    """A larger fsdp axis that spans whole sides of a slice, or None when there is none."""
    if config.mesh.fsdp == -1 or config.mesh.tensor > 1:
        return None
    return next((size for size in whole_sides(topology.grid) if size > config.mesh.fsdp), None)
