"""The start of a run: checks its working directory, then resumes, takes another run's parameters, or starts afresh."""

from pathlib import Path

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.config import to_dict
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import CheckpointError, ConfigError, UnreadableCheckpoint
from hilight_jax.runs.workdir import CONFIG, changed_keys, read_values
from hilight_jax.stages.load_config import build_run, read_config, with_defaults
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.steps import TrainState
from hilight_jax.training.trainer import Trainer


def start(config: RunConfig, trainer: Trainer, store: Store) -> TrainState:
    """Returns the first state: of the newest readable checkpoint, else of ``config.init_from``, else fresh.

    A newest checkpoint that turns out unreadable is set aside, and the one before it is resumed.
    """
    while (latest := store.latest()) is not None:
        try:
            state = trainer.restore(store, latest)
        except UnreadableCheckpoint as error:
            store.set_aside(latest, str(error))
            continue
        log(f"resuming at step {latest}")
        return state
    if config.init_from is not None:
        log(f"starting from the {config.init_from.which} parameters of {config.init_from.workdir}")
        return trainer.init_from(config.init_from)
    log("starting from fresh parameters")
    return trainer.init_state()


def check_workdir(config: RunConfig, workdir: Path) -> None:
    """Refuses a working directory that cannot be one, or that holds something else than this run.

    Raises:
      CheckpointError: It is or lies below a file, its ``config.json`` is no run's, or its checkpoints are of another
        configuration, whose differing keys are listed.
    """
    there = next(place for place in (workdir, *workdir.absolute().parents) if place.exists())
    if not there.is_dir():
        raise CheckpointError(f"the workdir '{workdir}' cannot be made: '{there}' is a file; name another --workdir.")
    if not (workdir / "checkpoints").is_dir():
        _check_is_a_run(workdir)
        return
    store = Store(workdir / "checkpoints", config.keep, read_only=True)
    latest = store.latest()
    saved = None if latest is None else store.config(latest)
    store.close()
    changed = [] if saved is None else changed_keys(with_defaults(saved), to_dict(config))
    if changed:
        raise CheckpointError(
            f"{workdir} holds another configuration ({'; '.join(changed)}); choose another --workdir, or train with "
            f"the configuration that is there."
        )


def _check_is_a_run(workdir: Path) -> None:
    """Refuses a folder whose ``config.json`` is not that of a run, which training would replace."""
    try:
        if (workdir / CONFIG).is_file():
            build_run(read_values(workdir))
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(
            f"'{workdir}' holds a {CONFIG} that is no run's ({error}); choose another --workdir, or delete it."
        ) from error


def check_init_from(config: RunConfig, workdir: Path) -> None:
    """Refuses to start from a run of another stage, or one with another number of heads, which no array shape reveals.

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
