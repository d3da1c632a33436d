"""A plan: one run on one topology, compiled, and what its programs need."""

import dataclasses
from pathlib import Path
from typing import Any

from hilight_jax.core import trees
from hilight_jax.core.mesh import make_mesh
from hilight_jax.planning import programs
from hilight_jax.planning.advice import advice
from hilight_jax.planning.collectives import collectives
from hilight_jax.planning.memory import account, arguments
from hilight_jax.planning.model_flops import model_flops, tower_flops
from hilight_jax.planning.roofline import as_dict, roofline
from hilight_jax.planning.topologies import Topology
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.training.run_config import RunConfig


def make_plan(config: RunConfig, topology: Topology, devices: list[Any], hlo: Path | None = None) -> dict[str, Any]:
    """Compiles a run for a topology and returns all figures; ``fits`` says whether it can run.

    Args:
      config: The run; what is ``auto`` in it is settled as on a TPU.
      topology: Where.
      devices: Its devices.
      hlo: Where the compiled step is saved.

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
    """Model FLOPs, and the roofline of the step without loops, where that can be compiled.

    It takes the compiler as long again, and several times as long where layers are many and large.
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
    seconds, figures = found.seconds, as_dict(found)
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
