"""Plans a run on a TPU pod: ``python -m hilight_jax.plan --config FILE.py[:preset] --topology v5e:16x16``.

Compiles the run's own train step for the pod with the TPU compiler (pip install -e '.[tpu]', no TPU is needed),
and prints memory of a chip by kind, FLOPs and bytes of a step, collectives between chips, and the least time of a step.
Memory, FLOPs, bytes and collectives are the compiler's figures; estimates are marked. Exits with 1 when the run does
not fit.
"""

import argparse
from pathlib import Path

from hilight_jax.core import commands
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import UserError
from hilight_jax.planning import tables
from hilight_jax.planning.plans import make_plan, speed, sweep
from hilight_jax.planning.topologies import devices, parse
from hilight_jax.stages.load_config import load_config

DOES_NOT_FIT = 1


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, compiles, prints."""
    arguments, overrides = _parser().parse_known_args(argv)
    if arguments.sweep and arguments.hlo:
        raise UserError("--sweep compiles many programs and --hlo saves one; give only one of them.")
    topology = parse(arguments.topology, arguments.slices)
    config = load_config(arguments.config, overrides)
    known = devices(topology)
    log(f"{topology.name}: {topology.chips} chips; compiling takes minutes")
    if arguments.sweep:
        rows = sweep(config, topology, known, log)
        result = {"config": arguments.config, "topology": topology.name, "chips": topology.chips, "sweep": rows}
        print(tables.sweep_table(rows))
        fits = any(row["fits"] for row in rows)
    else:
        result = {"config": arguments.config, **make_plan(config, topology, known, arguments.hlo)}
        print(tables.plan_table(result), flush=True)
        fits = result["fits"]
        if fits and not arguments.no_roofline:
            log("compiling it once more without loops, for the roofline")
            result |= speed(config, topology, known)
            print(tables.speed_table(result))
    if arguments.json:
        commands.print_json(result)
    return 0 if fits else DOES_NOT_FIT


def _parser() -> argparse.ArgumentParser:
    keys = "Every key of the config can be set: --config.batch_size=8192"
    parser = commands.parser("plan", __doc__, epilog=keys)
    add = parser.add_argument
    add("--config", required=True, help="FILE.py[:PRESET[,key=value...]], e.g. configs/encoder.py:b16")
    add("--topology", required=True, help="a grid, v5e:16x16, or Cloud's name, v4-128 (64 chips)")
    add("--slices", type=int, default=1, help="slices of that topology (default: 1)")
    add("--sweep", action="store_true", help="try remat, batch and fsdp settings; what fits best")
    add("--no_roofline", action="store_true", help="memory and collectives alone; half the time")
    add("--hlo", type=Path, help="save the compiled step's text here")
    return parser


if __name__ == "__main__":
    commands.run(main)
