"""Trains a model: ``python -m hilight_jax.train --config configs/encoder.py[:preset] [--config.key=value]``.

Started again on the same working directory it resumes; a finished run prints that and ends.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hilight_jax.billiards.dataset import build
from hilight_jax.billiards.worlds import get_world
from hilight_jax.checkpoints.store import Store
from hilight_jax.core import commands, distributed, trees
from hilight_jax.core.distributed import log, run_identity
from hilight_jax.core.mesh import make_mesh
from hilight_jax.data.bad_clips import BadClips
from hilight_jax.data.sources import is_missing
from hilight_jax.runs.ancestry import keep_ancestry, training_command
from hilight_jax.runs.workdir import write_config
from hilight_jax.stages.load_config import load_config
from hilight_jax.stages.start import check_init_from, check_workdir, start
from hilight_jax.stages.table import STAGES
from hilight_jax.training import loop
from hilight_jax.training.long_runs.goodput import Clock
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.trainer import Trainer

GENERATION_SECONDS = 4 * 3600.0  # Limit on the wait of other processes while the first one generates a world.


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, then trains."""
    keys = "Every key of the config can be set, --config.optimizer.learning_rate=1e-5; docs/api/configs.md lists them."
    parser = commands.parser("train", __doc__, epilog=keys)
    parser.add_argument("--config", required=True, help="FILE.py[:PRESET[,key=value...]], e.g. configs/encoder.py:demo")
    parser.add_argument("--workdir", type=Path, help="default: runs/<name>-<preset>")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="where generated worlds are kept")
    parser.add_argument("--dry_run", action="store_true", help="check config, data, shapes and shardings; do not train")
    several = parser.add_argument_group(
        "several processes", "found out on Cloud TPU; elsewhere given here or as JAX_COORDINATOR_ADDRESS and so on"
    )
    several.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
    several.add_argument("--num_processes", type=int, help="of the whole run")
    several.add_argument("--process_id", type=int, help="which of them this is, from 0")
    several.add_argument(
        "--arrival_timeout",
        type=float,
        default=distributed.ARRIVAL_SECONDS,
        metavar="SECONDS",
        help="how long they wait for each other to start (default: %(default)g)",
    )
    arguments, overrides = parser.parse_known_args(argv)
    config = load_config(arguments.config, overrides, arguments.data_dir)
    distributed.initialize(
        arguments.arrival_timeout, arguments.coordinator_address, arguments.num_processes, arguments.process_id
    )
    distributed.agree(run_identity(config))
    workdir = arguments.workdir or Path("runs") / f"{config.name}-{re.sub('[^a-z0-9]+', '-', config.preset)}"
    data_dir = arguments.data_dir if arguments.data_dir != parser.get_default("data_dir") else None
    command = training_command(arguments.config, overrides, data_dir)
    result = train(config, workdir, arguments.dry_run, command)
    if arguments.json:
        commands.print_json(result)
    return 0


def train(config: RunConfig, workdir: Path, dry_run: bool = False, command: str = "") -> dict[str, Any]:
    """Runs, resumes or checks one training run, noting its command for model cards; returns what it came to."""
    clock = Clock()
    log(f"{len(jax.devices())} {jax.devices()[0].platform} device(s), {jax.process_count()} process(es)")
    if not dry_run:
        distributed.check_shared(workdir)
    check_workdir(config, workdir)
    check_init_from(config, workdir)
    mesh = make_mesh(config.mesh)
    ready = config.with_sources()
    stage = STAGES[config.stage].stage(ready, mesh, workdir)
    trainer = Trainer(config, stage.objective, mesh, stage.given)
    if dry_run and lacks_world(ready):
        log(f"dry run: {ready.data.train} is missing and would be generated; shapes and shardings are in order")
        return {"workdir": str(workdir), "dry_run": True}
    generate_world(ready)
    source = distributed.together("opening the data", stage.open_source)
    distributed.agree({f"the number of clips in {ready.data.train}": str(len(source))})
    summary = {
        "workdir": str(workdir),
        "trained_parameters": trees.count(trainer.state_shapes.trained),
        "frozen_parameters": trees.count(trainer.state_shapes.frozen),
        "train_clips": len(source),
    }
    log(
        f"{summary['trained_parameters']:,} parameters are trained, {summary['frozen_parameters']:,} are frozen; "
        f"{summary['train_clips']:,} clips to train on"
    )
    if dry_run:
        trainer.train_step.lower(trainer.state_shapes, trainer.example_shapes())
        log("dry run: config, data, shapes and shardings are in order; nothing was trained or written")
        return summary | {"dry_run": True}
    distributed.together("writing the configuration", lambda: write_config(workdir, config))
    distributed.together("preparing the workdir", lambda: stage.prepare(workdir))
    keep_ancestry(config, workdir, command, len(source))
    store = Store(workdir / "checkpoints", config.keep)
    state = start(config, trainer, store)
    if int(state.step) >= config.steps:
        log(f"{workdir} is finished: all {config.steps} steps are done. Another workdir trains anew.")
    else:
        bad_clips = BadClips(config.data.train, stage.name_of, config.data.max_bad_fraction, gather=bad_clip_gatherer())
        with stage.batches(int(state.step)) as batches:
            hooks = loop.Hooks(
                evaluate=stage.evaluate,
                check_batch=lambda batch: bad_clips.update(batch, trainer.rows.counted),
                check_run=bad_clips.finish,
                log=log,
            )
            state = loop.run(trainer, state, batches, store, workdir, hooks, clock)
        summary |= {"replaced_clips": bad_clips.count, "truncated_captions": bad_clips.truncated}
        log(f"{bad_clips.count} clips were replaced, {bad_clips.truncated} texts were cut")
    summary |= {"steps": int(state.step), "best_step": store.best(), "latest_step": store.latest()}
    store.close()
    return summary


def bad_clip_gatherer() -> Callable[[np.ndarray], np.ndarray] | None:
    """Gives a host the counts of all hosts; None to one that is alone."""
    if jax.process_count() == 1:
        return None
    return lambda counts: np.array(distributed.exchange("counting bad clips", counts.tolist(), timeout=3600))


def lacks_world(config: RunConfig) -> bool:
    """Tests for training clips of a billiards world that is not stored yet and that the config lets be generated."""
    kind, _, path = config.data.train.partition(":")
    return config.generate_missing and kind in ("tfds", "questions") and is_missing(f"tfds:{path.partition(',')[0]}")


def generate_world(config: RunConfig) -> None:
    """Generates the billiards world of the training clips if it is missing; the first process does, the others wait."""

    def generate() -> None:
        directory = Path(config.data.train.partition(":")[2].partition(",")[0]).parent  # tfds:DIRECTORY/SPLIT,...
        world = get_world(directory.parent.name)
        log(f"{directory} is missing: generating the world {world.name}, or waiting for who does")
        build(world, directory.parent.parent, workers=os.cpu_count() or 1, wait=True)

    first = jax.process_index() == 0
    distributed.together(
        "generating the world", lambda: generate() if first and lacks_world(config) else None, GENERATION_SECONDS
    )


if __name__ == "__main__":
    with distributed.leaving_at_once():
        commands.run(main)
