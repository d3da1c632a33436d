"""A plan: one run, compiled for one topology; memory, collectives and roofline of its programs, and advice.

A sweep plans several settings of the run and ranks them.
"""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hilight_jax.core import trees
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.planning import programs
from hilight_jax.planning.hlo import collectives, kernel_costs
from hilight_jax.planning.memory import account, arguments
from hilight_jax.planning.programs import model_flops, tower_flops
from hilight_jax.planning.topologies import Chip, Topology, whole_sides
from hilight_jax.training.run_config import RunConfig

BATCHES = (1, 2, 4, 8, 16, 32)  # Examples of a chip, tried by a sweep.


def make_plan(config: RunConfig, topology: Topology, devices: list[Any], hlo: Path | None = None) -> dict[str, Any]:
    """Compiles a run for a topology and returns all figures; ``fits`` is false when it needs too much memory.

    ``auto`` in the config means what it means on a TPU; the compiled step is saved in the file ``hlo``.

    Raises:
      ConfigError: The batch or the mesh does not divide over the devices.
    """
    config = programs.for_tpu(config)
    mesh = make_mesh(config.mesh, devices)
    trainer = programs.make_trainer(config, mesh)
    chip, host = topology.chip, [device for device in devices if device.process_index == devices[0].process_index]
    plan: dict[str, Any] = {
        "topology": topology.name,
        "chips": topology.chips,
        "hosts": topology.chips // len(host),
        "mesh": dict(mesh.shape),
        "batch_size": config.batch_size,
        "batch_per_chip": config.batch_size / topology.chips,
        "compute": dataclasses.asdict(config.model.compute),
        "trained_parameters": trees.count(trainer.state_shapes.trained),
        "frozen_parameters": trees.count(trainer.state_shapes.frozen),
        "capacity": chip.memory,
        "peak_flops": chip.peak_flops,
        "bytes_per_second": chip.bandwidth,
    }
    try:
        step = programs.compile_step(trainer)
        towers = None
        if tower_flops(config):
            towers = programs.compile_towers(config, host, whole=len(host) == len(devices))
    except programs.DoesNotFit as problem:
        failed = {"fits": False, "compiler": problem.remark, "needed": problem.needed, "memory": arguments(trainer)}
        return plan | failed | {"advice": advice(config, topology, problem.needed)}
    memory = account(trainer, step, towers)
    text = step.compiled.as_text()
    if hlo is not None:
        hlo.write_text(text)
    plan |= {
        "fits": memory.total <= chip.memory,
        "needed": memory.total,
        "memory": dataclasses.asdict(memory),
        "collectives": collectives(text),
        "compile_seconds": step.seconds,
    }
    if not plan["fits"]:
        plan["advice"] = advice(config, topology, memory.total)
    if towers is not None:
        plan["towers_compile_seconds"] = towers.seconds
    return plan


def speed(config: RunConfig, topology: Topology, devices: list[Any]) -> dict[str, Any]:
    """Model FLOPs, and the roofline of the step without loops, if that can be compiled.

    Compiling it takes as long as the plan did, and several times as long where layers are many and large.
    """
    mesh = make_mesh(config.mesh, devices)
    chip, chips = topology.chip, topology.chips
    result: dict[str, Any] = {"model_flops": model_flops(config)}
    try:
        written_out = programs.compile_step(programs.make_trainer(programs.written_out(config), mesh))
    except programs.DoesNotFit as problem:
        return result | {"roofline": None, "roofline_problem": problem.remark}
    analysis, text = written_out.compiled.cost_analysis(), written_out.compiled.as_text()
    figures = roofline(analysis, text, chip, chips, result["model_flops"], config.accumulate)
    seconds = figures["seconds"]
    if theirs := tower_flops(config):
        figures["towers_seconds"] = theirs / chips / chip.peak_flops
        seconds += figures["towers_seconds"]
    hours = seconds * config.steps * chips / 3600
    return result | {
        "roofline": figures,
        "unrolled_compile_seconds": written_out.seconds,
        "towers_flops": theirs,
        "steps": config.steps,
        "chip_hours": hours,
    }


def roofline(
    analysis: dict[str, float], text: str, chip: Chip, chips: int, model_flops: float, rounds: int = 1
) -> dict[str, Any]:
    """The roofline of a program without loops; the compiler counts a loop's body once.

    It is an estimate without links between chips, waiting and imperfect kernels.

    Args:
      analysis: The compiler's cost analysis of one chip's program.
      text: The program.
      chip: Peaks of each chip.
      chips: Number of chips.
      model_flops: FLOPs of one step over the global batch, without recomputation.
      rounds: Runs of the program in a step: its micro-batches.

    Returns:
      'flops' (with recomputation) and 'bytes' of a chip, as the compiler counts, kernels by their operands and results;
      the time of each at the chip's peaks, the larger time 'seconds' and its name 'limit'; 'mfu_bound', the model FLOPs
      at the peak over 'seconds'; the calls of our own 'kernels' in a step, and the bytes of their operands and results.
    """
    kernels = {name: value * rounds for name, value in kernel_costs(text).items()}
    flops = analysis.get("flops", 0.0) * rounds
    moved = analysis.get("bytes accessed", 0.0) * rounds + kernels["bytes"] - kernels["declared_bytes"]
    compute, memory = flops / chip.peak_flops, moved / chip.bandwidth
    return {
        "flops": flops,
        "bytes": moved,
        "compute_seconds": compute,
        "memory_seconds": memory,
        "mfu_bound": model_flops / chips / chip.peak_flops / max(compute, memory),
        "kernels": int(kernels["calls"]),
        "kernel_bytes": kernels["bytes"],
        "seconds": max(compute, memory),
        "limit": "compute" if compute >= memory else "memory bandwidth",
    }


def advice(config: RunConfig, topology: Topology, needed: int | None) -> str:
    """One sentence with the excess and each setting that helps, the cheapest first."""
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


def sweep(config: RunConfig, topology: Topology, devices: list[Any], log: Callable[[str], None]) -> list[dict]:
    """Plans every setting and ranks them: those that fit, larger batches, without remat.

    Settings that need more memory than one that did not fit are not compiled.
    """
    rows: list[dict] = []
    for remat, fsdp in itertools.product((False, True), _fsdp(config, topology)):
        for batch in BATCHES:
            changed = _with(config, remat, fsdp, batch * topology.chips * config.accumulate)
            setting = f"{batch} a chip, remat {remat}, fsdp {fsdp}"
            try:
                plan = make_plan(changed, topology, devices)
            except ConfigError as error:
                log(f"{setting}: {error}")
                continue
            rows.append(_row(changed, plan, remat, fsdp))
            log(f"{setting}: {'fits' if plan['fits'] else 'does not fit'}")
            if not plan["fits"]:
                break
    return sorted(rows, key=lambda row: (not row["fits"], -row["batch_per_chip"], row["remat"], row["fsdp"]))


def _with(config: RunConfig, remat: bool, fsdp: int, batch_size: int) -> RunConfig:
    kept = config.model.compute.remat_keeps if remat else ()
    compute = dataclasses.replace(config.model.compute, remat=remat, remat_keeps=kept)
    model = dataclasses.replace(config.model, compute=compute)
    mesh = dataclasses.replace(config.mesh, data=-1, fsdp=fsdp)
    return dataclasses.replace(config, model=model, mesh=mesh, batch_size=batch_size)


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


def _next_fsdp(config: RunConfig, topology: Topology) -> int | None:
    """A larger fsdp axis that spans whole sides of a slice, or None when there is none."""
    if config.mesh.fsdp == -1 or config.mesh.tensor > 1:
        return None
    return next((size for size in whole_sides(topology.grid) if size > config.mesh.fsdp), None)
