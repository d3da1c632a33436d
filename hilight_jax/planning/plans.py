"""A plan: one run, compiled for one topology; memory, collectives and roofline of its programs, and advice."""

import dataclasses
from pathlib import Path
from typing import Any

from hilight_jax.core import trees
from hilight_jax.core.mesh import make_mesh
from hilight_jax.planning import programs
from hilight_jax.planning.hlo import collectives
from hilight_jax.planning.memory import account, arguments
from hilight_jax.planning.programs import model_flops, tower_flops
from hilight_jax.planning.roofline import roofline
from hilight_jax.planning.topologies import Topology, whole_sides
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.training.run_config import RunConfig


def make_plan(config: RunConfig, topology: Topology, devices: list[Any], hlo: Path | None = None) -> dict[str, Any]:
    """Compiles a run for a topology and returns all figures; ``fits`` is false when it needs too much memory.

    Args:
      config: The run; ``auto`` in it means what it means on a TPU.
      topology: The slices.
      devices: Their devices.
      hlo: File to save the compiled step in.

    Raises:
      ConfigError: The batch or the mesh does not divide over the devices.
    """
    config = programs.for_tpu(config)
    mesh = make_mesh(config.mesh, devices)
    trainer = programs.make_trainer(config, mesh)
    chip, host = topology.chip, programs.one_host(devices)
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
        if isinstance(config, ChatTrainConfig):
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
    flops, chip, chips = model_flops(config), topology.chip, topology.chips
    result: dict[str, Any] = {"model_flops": flops}
    try:
        written_out = programs.compile_step(programs.make_trainer(programs.written_out(config), mesh))
    except programs.DoesNotFit as problem:
        return result | {"roofline": None, "roofline_problem": problem.remark}
    analysis, text = written_out.compiled.cost_analysis(), written_out.compiled.as_text()
    found = roofline(analysis, text, chip, chips, flops, config.accumulate)
    seconds, figures = found.seconds, dataclasses.asdict(found) | {"seconds": found.seconds, "limit": found.limit}
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


def _next_fsdp(config: RunConfig, topology: Topology) -> int | None:
    """A larger fsdp axis that spans whole sides of a slice, or None when there is none."""
    if config.mesh.fsdp == -1 or config.mesh.tensor > 1:
        return None
    return next((size for size in whole_sides(topology.grid) if size > config.mesh.fsdp), None)
