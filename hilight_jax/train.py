"""Trains a model: ``python -m hilight_jax.train --config configs/encoder.py[:preset] [--config.key=value]``.

Started again on the same working directory it resumes; finished, it says so.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from hilight_jax.billiards.dataset import build
from hilight_jax.billiards.worlds import get_world
from hilight_jax.checkpoints.store import Store
from hilight_jax.core import commands, trees
from hilight_jax.core.config import differences, to_dict
from hilight_jax.core.errors import CheckpointError, DataError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.data.bad_clips import BadClips
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.data.records import Source
from hilight_jax.data.sources import is_missing, open_source
from hilight_jax.evals.evaluation import evaluate_encoder, headline
from hilight_jax.training import loop
from hilight_jax.training.encoder import Encoder
from hilight_jax.training.experiment import FREE_KEYS, TrainConfig, load_config
from hilight_jax.training.objective import EncoderObjective
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
    arguments, overrides = parser.parse_known_args(argv)
    config = load_config(arguments.config, overrides, arguments.data_dir)
    workdir = arguments.workdir or Path("runs") / f"{config.name}-{re.sub('[^a-z0-9]+', '-', config.preset)}"
    result = train(config, workdir, arguments.dry_run)
    if arguments.json:
        commands.print_json(result)
    return 0


def train(config: TrainConfig, workdir: Path, dry_run: bool = False) -> dict[str, Any]:
    """Runs, resumes or checks one training run; returns what it came to."""
    say(f"{len(jax.devices())} {jax.devices()[0].platform} device(s), {jax.process_count()} process(es)")
    check_workdir(config, workdir)
    mesh = make_mesh(config.mesh)
    trainer = Trainer(config, EncoderObjective(config, mesh), mesh)
    data = config.with_sources()
    if dry_run and lacks_world(data):
        say(f"dry run: {data.data.train} is missing and would be generated; shapes and shardings are in order")
        return {"workdir": str(workdir), "dry_run": True}
    source = open_training_source(data)
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
    evaluate = make_evaluate(data)
    if dry_run:
        trainer.train_step.lower(trainer.state_shapes, trainer.example_shapes())
        say("dry run: config, data, shapes and shardings are in order; nothing was trained or written")
        return summary | {"dry_run": True}
    write_config(config, workdir)
    store = Store(workdir / "checkpoints", config.keep)
    state = start(config, trainer, store)
    if int(state.step) >= config.steps:
        say(f"{workdir} is finished: all {config.steps} steps are done. Another workdir trains anew.")
    else:
        bad_clips = BadClips(source, config.data.max_bad_fraction)
        hosts = {"host_index": jax.process_index(), "host_count": jax.process_count()}
        with Pipeline(config.data, source, config.seed).batches(config.batch_size, int(state.step), **hosts) as batches:
            state = loop.run(
                trainer, state, batches, store, workdir, evaluate, watch=bad_clips.update, judge=bad_clips.finish
            )
        summary |= {"replaced_clips": bad_clips.count, "truncated_captions": bad_clips.truncated}
        say(f"{bad_clips.count} clips were replaced, {bad_clips.truncated} captions were cut")
    summary |= {"steps": int(state.step), "best_step": store.best(), "latest_step": store.latest()}
    store.close()
    return summary


def open_training_source(config: TrainConfig) -> Source:
    """Opens the training clips; a missing billiards world is generated if the config says so.

    Raises:
      DataError: The config names no clips, or those it names are missing.
    """
    specification = config.data.train
    if not specification:
        raise DataError(
            "config.data.train names no clips; give a source, e.g. --config.data.train=manifest:clips.jsonl (the "
            "README says how data becomes a manifest)."
        )
    if lacks_world(config):
        directory = Path(specification.removeprefix("tfds:")).parent
        world = get_world(directory.parent.name)
        say(f"{directory} is missing: generating the world {world.name}, once")
        build(world, directory.parent.parent, workers=os.cpu_count() or 1)
    return open_source(specification)


def lacks_world(config: TrainConfig) -> bool:
    """Whether the training clips are a stored world that is missing and that the config lets be generated."""
    return config.generate_missing and config.data.train.startswith("tfds:") and is_missing(config.data.train)


def make_evaluate(config: TrainConfig) -> loop.Evaluate:
    """Returns ``(params, step) -> figures`` on the validation clips; no figures when the config names none."""
    if not config.data.validation:
        return lambda params, step: {}
    source, encoder = open_source(config.data.validation), Encoder(config)

    def evaluate(params: Mapping[str, Any], step: int) -> dict[str, float]:
        encoder.params = params
        return headline(evaluate_encoder(encoder, source), "validation")

    return evaluate


def start(config: TrainConfig, trainer: Trainer, store: Store) -> TrainState:
    """The three ways to start, the first that applies: resume, another run's parameters, fresh ones."""
    latest = store.latest()
    if latest is not None:
        say(f"resuming at step {latest}")
        return trainer.restore(store, latest)
    if config.init_from is not None:
        say(f"starting from the {config.init_from.which} parameters of {config.init_from.workdir}")
        return trainer.init_from(config.init_from)
    say("starting from fresh parameters")
    return trainer.init_state()


def check_workdir(config: TrainConfig, workdir: Path) -> None:
    """Refuses a working directory that holds checkpoints of another configuration.

    Raises:
      CheckpointError: The differing keys are listed.
    """
    if not (workdir / "checkpoints").is_dir():
        return
    store = Store(workdir / "checkpoints", config.keep, read_only=True)
    latest = store.latest()
    changed = differences(store.config(latest), json.loads(json.dumps(to_dict(config)))) if latest is not None else []
    store.close()
    changed = [line for line in changed if not line.removeprefix("config.").startswith(FREE_KEYS)]
    if changed:
        raise CheckpointError(
            f"{workdir} holds another configuration ({'; '.join(changed)}); choose another --workdir, or train with "
            f"the configuration that is there."
        )


def write_config(config: TrainConfig, workdir: Path) -> None:
    """Writes ``config.json`` in one piece."""
    if jax.process_index():
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        partial = workdir / "config.json.partial"
        partial.write_text(json.dumps(to_dict(config), indent=2) + "\n")
        os.replace(partial, workdir / "config.json")
    except OSError as error:
        raise CheckpointError(f"the workdir {workdir} cannot be written: {error.strerror}.") from error


def say(line: str) -> None:
    """Tells the user one thing, on stderr."""
    if jax.process_index() == 0:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    commands.run(main)
