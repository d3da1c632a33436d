"""Tries settings of a run on a topology and ranks what fits."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from hilight_jax.core.errors import ConfigError
from hilight_jax.planning.plans import make_plan
from hilight_jax.planning.programs import model_flops
from hilight_jax.planning.topologies import Topology, whole_sides
from hilight_jax.training.run_config import RunConfig

BATCHES = (1, 2, 4, 8, 16, 32)  # Examples of a chip.


def sweep(config: RunConfig, topology: Topology, devices: list[Any], tell: Callable[[str], None]) -> list[dict]:
    """Plans every setting and ranks them: those that fit, larger batches, without remat.

    Settings that need more memory than one that did not fit are not compiled.
    """
    rows: list[dict] = []
    for remat, fsdp in itertools.product((False, True), _fsdp(config, topology)):
        for batch, changed in _batches(config, topology, remat, fsdp):
            try:
                plan = make_plan(changed, topology, devices)
            except ConfigError as error:
                tell(f"{batch} a chip, remat {remat}, fsdp {fsdp}: {error}")
                continue
            rows.append(_row(changed, plan, remat, fsdp))
            tell(f"{batch} a chip, remat {remat}, fsdp {fsdp}: {'fits' if plan['fits'] else 'does not fit'}")
            if not plan["fits"]:
                break
    return sorted(rows, key=lambda row: (not row["fits"], -row["batch_per_chip"], row["remat"], row["fsdp"]))


def _batches(config: RunConfig, topology: Topology, remat: bool, fsdp: int) -> Iterator[tuple[int, RunConfig]]:
    """Yields (examples of a chip, run) for every batch, smallest first."""
    kept = config.model.compute.remat_keeps if remat else ()
    compute = dataclasses.replace(config.model.compute, remat=remat, remat_keeps=kept)
    model = dataclasses.replace(config.model, compute=compute)
    mesh = dataclasses.replace(config.mesh, data=-1, fsdp=fsdp)
    for batch in BATCHES:
        size = batch * topology.chips * config.accumulate
        yield batch, dataclasses.replace(config, model=model, mesh=mesh, batch_size=size)


def _row(config: RunConfig, plan: dict[str, Any], remat: bool, fsdp: int) -> dict[str, Any]:
    overrides = [
        f"--config.batch_size={config.batch_size}",
        f"--config.model.compute.remat={str(remat).lower()}",
        f"--config.mesh.fsdp={fsdp}",
    ]
    kept = {name: plan.get(name) for name in ("fits", "needed", "batch_per_chip", "compile_seconds")}
    return kept | {"remat": remat, "fsdp": fsdp, "model_flops": model_flops(config), "overrides": overrides}


def _fsdp(config: RunConfig, topology: Topology) -> list[int]:
    """Sizes of the fsdp axis: that of the run, 1, one side of the slice and the whole slice."""
    if config.mesh.tensor > 1:
        return [config.mesh.fsdp]
    sides = whole_sides(topology.grid)
    return sorted({sides[0], sides[min(1, len(sides) - 1)], sides[-1], config.mesh.fsdp} - {-1})
