"""Trains a model: ``python -m hilight_jax.train --config configs/encoder.py[:preset] [--config.key=value]``.

Started again on the same working directory it resumes; finished, it says so.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hilight_jax.checkpoints.store import Store
from hilight_jax.core import commands, distributed, trees
from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.config import differences, to_dict
from hilight_jax.core.errors import CheckpointError, ConfigError, UnreadableCheckpoint
from hilight_jax.core.identity import fingerprints
from hilight_jax.core.mesh import make_mesh
from hilight_jax.data.bad_clips import BadClips
from hilight_jax.runs.ancestry import keep_ancestry
from hilight_jax.stages.load_config import build_run, load_config, read_config
from hilight_jax.stages.stage import lacks_world, provide_world, say
from hilight_jax.stages.table import make_stage
from hilight_jax.training import loop
from hilight_jax.training.long_runs.clock import Clock
from hilight_jax.training.run_config import FREE_KEYS, RunConfig
from hilight_jax.training.state import TrainState
from hilight_jax.training.trainer import Trainer


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, then trains."""
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.train",
        description=__doc__.splitlines()[0],
        epilog="Every key of the config can be set: --config.optimizer.learning_rate=1e-5",
    )
    parser.add_argument("--config", required=True, help="FILE.py[:PRESET[,key=value...]], e.g. configs/encoder.py:demo")
    parser.add_argument("--workdir", type=Path, help="default: runs/<name>-<preset>")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="where generated worlds are kept")
    parser.add_argument("--dry_run", action="store_true", help="check config, data, shapes and shardings; do not train")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
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
    distributed.agree(fingerprints(config))
    workdir = arguments.workdir or Path("runs") / f"{config.name}-{re.sub('[^a-z0-9]+', '-', config.preset)}"
    result = train(config, workdir, arguments.dry_run)
    if arguments.json:
        commands.print_json(result)
    return 0


def train(config: RunConfig, workdir: Path, dry_run: bool = False) -> dict[str, Any]:
    """Runs, resumes or checks one training run; returns what it came to."""
    clock = Clock()
    say(f"{len(jax.devices())} {jax.devices()[0].platform} device(s), {jax.process_count()} process(es)")
    if not dry_run:
        distributed.check_shared(workdir)
    check_workdir(config, workdir)
    check_start(config, workdir)
    mesh = make_mesh(config.mesh)
    ready = config.with_sources()
    stage = make_stage(ready, mesh, workdir)
    trainer = Trainer(config, stage.objective, mesh, stage.given)
    if dry_run and lacks_world(ready):
        say(f"dry run: {ready.data.train} is missing and would be generated; shapes and shardings are in order")
        return {"workdir": str(workdir), "dry_run": True}
    provide_world(ready)
    source = distributed.together("opening the data", stage.open_source)
    distributed.agree({f"the number of clips in {ready.data.train}": str(len(source))})
    summary = {
        "workdir": str(workdir),
        "trained_parameters": trees.count(trainer.state_shapes.trained),
        "frozen_parameters": trees.count(trainer.state_shapes.frozen),
        "train_clips": len(source),
    }
    say(
        f"{summary['trained_parameters']:,} parameters are trained, {summary['frozen_parameters']:,} are frozen; "
        f"{summary['train_clips']:,} clips to train on"
    )
    if dry_run:
        trainer.train_step.lower(trainer.state_shapes, trainer.example_shapes())
        say("dry run: config, data, shapes and shardings are in order; nothing was trained or written")
        return summary | {"dry_run": True}
    distributed.together("writing the configuration", lambda: write_config(config, workdir))
    distributed.together("preparing the workdir", lambda: stage.prepare(workdir))
    keep_ancestry(config, workdir)
    store = Store(workdir / "checkpoints", config.keep)
    state = start(config, trainer, store)
    if int(state.step) >= config.steps:
        say(f"{workdir} is finished: all {config.steps} steps are done. Another workdir trains anew.")
    else:
        bad_clips = BadClips(config.data.train, stage.name_of, config.data.max_bad_fraction, gather=bad_clip_gatherer())
        with stage.batches(int(state.step)) as batches:
            state = loop.run(
                trainer,
                state,
                batches,
                store,
                workdir,
                stage.evaluate,
                watch=lambda batch: bad_clips.update(batch, trainer.rows.counted),
                judge=bad_clips.finish,
                tell=say,
                clock=clock,
            )
        summary |= {"replaced_clips": bad_clips.count, "truncated_captions": bad_clips.truncated}
        say(f"{bad_clips.count} clips were replaced, {bad_clips.truncated} texts were cut")
    summary |= {"steps": int(state.step), "best_step": store.best(), "latest_step": store.latest()}
    store.close()
    return summary


def bad_clip_gatherer() -> Callable[[np.ndarray], np.ndarray] | None:
    """Gives a host the counts of all hosts; None to one that is alone."""
    if jax.process_count() == 1:
        return None
    return lambda counts: np.array(distributed.exchange("counting bad clips", counts.tolist(), timeout=3600))


def start(config: RunConfig, trainer: Trainer, store: Store) -> TrainState:
    """The three ways to start, the first that applies: resume, another run's parameters, fresh ones.

    A newest checkpoint that turns out unreadable is set aside, and the one before it is resumed.
    """
    while (latest := store.latest()) is not None:
        try:
            state = trainer.restore(store, latest)
        except UnreadableCheckpoint as error:
            store.set_aside(latest, str(error))
            continue
        say(f"resuming at step {latest}")
        return state
    if config.init_from is not None:
        say(f"starting from the {config.init_from.which} parameters of {config.init_from.workdir}")
        return trainer.init_from(config.init_from)
    say("starting from fresh parameters")
    return trainer.init_state()


def check_workdir(config: RunConfig, workdir: Path) -> None:
    """Refuses a working directory that holds checkpoints of another configuration.

    Raises:
      CheckpointError: The differing keys are listed.
    """
    if not (workdir / "checkpoints").is_dir():
        return
    store = Store(workdir / "checkpoints", config.keep, read_only=True)
    latest = store.latest()
    saved = None if latest is None else store.config(latest)
    store.close()
    changed = [] if saved is None else differences(_with_defaults(saved), json.loads(json.dumps(to_dict(config))))
    changed = [line for line in changed if not line.removeprefix("config.").startswith(FREE_KEYS)]
    if changed:
        raise CheckpointError(
            f"{workdir} holds another configuration ({'; '.join(changed)}); choose another --workdir, or train with "
            f"the configuration that is there."
        )


def check_start(config: RunConfig, workdir: Path) -> None:
    """Refuses to start from a run of another stage, or whose heads are cut otherwise, which no shape would show.

    Raises:
      CheckpointError: What is there, and what is needed.
    """
    if config.init_from is None or (workdir / "checkpoints").is_dir():
        return
    place = config.init_from.workdir
    theirs = read_config(place)
    if theirs.stage != config.stage:
        raise CheckpointError(
            f"config.init_from.workdir '{place}' is a run of the stage '{theirs.stage}', but this is one of "
            f"'{config.stage}'; name a run of the same stage."
        )
    for part in ("vision", "frames", "text"):
        found, wanted = (getattr(getattr(run.model, part, None), "num_heads", None) for run in (theirs, config))
        if found != wanted:
            raise CheckpointError(
                f"config.init_from.workdir '{place}' has model.{part}.num_heads={found}, but here it is {wanted}; set "
                f"config.model.{part}.num_heads={found}, or name another run."
            )


def _with_defaults(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """A saved configuration with the keys that have come since, at their defaults; as it is when a key has gone."""
    try:
        return json.loads(json.dumps(to_dict(build_run(saved))))
    except ConfigError:
        return saved


def write_config(config: RunConfig, workdir: Path) -> None:
    """Writes ``config.json`` in one piece."""
    if jax.process_index():
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_object(workdir / "config.json", to_dict(config))
    except OSError as error:
        raise CheckpointError(f"the workdir {workdir} cannot be written: {error.strerror}.") from error


if __name__ == "__main__":
    with distributed.leaving_at_once():
        commands.run(main)
