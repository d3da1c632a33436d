"""The checkpoints of one working directory: an orbax manager with every model part as its own item.

A step holds one item per part of the model (``vision``, ``text``, ``token_mining``, ..., ``heads``), one for the
optimiser, and the JSON items ``position`` and ``config``. Parts restore alone, onto any mesh. Data needs no iterator
state: its position is the step.
"""

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as keep

from hilight_jax.checkpoints.integrity import (
    WithoutSteps,
    clear_damage,
    find_damage,
    move_aside,
    nothing_whole,
    write_sizes,
)
from hilight_jax.checkpoints.streaming import save_args, type_handlers
from hilight_jax.core import trees
from hilight_jax.core.config import check
from hilight_jax.core.errors import CheckpointError, ConfigError, UnreadableCheckpoint, nearest
from hilight_jax.core.lazy import LazyArray

# Top-level names of the parameters that are items of their own; all others together are the item "heads".
PARTS = ("vision", "text", "frames", "token_mining", "gemma", "lora")
HEADS = "heads"
POSITION = "position"
CONFIG = "config"
OPTIMIZER = "optimizer"
Which = Literal["best", "latest"]


@dataclasses.dataclass(frozen=True)
class KeepConfig:
    """The checkpoints to keep: the newest ``latest`` and the best one by ``best_metric`` (highest is best)."""

    every: int = 1000
    latest: int = 2
    best_metric: str = "validation/text_to_video_r1"

    def __post_init__(self):
        """Checks that at least one step is kept."""
        check(self, "config.keep.", lambda x: x >= 1, "at least 1", "every", "latest")


def split_parts(params: Mapping[str, Any]) -> dict[str, dict]:
    """Cuts a parameter tree into the items of a checkpoint; a part without parameters is left out."""
    parts: dict[str, dict] = {}
    for name, value in params.items():
        if name in PARTS:
            parts[name] = value
        else:
            parts.setdefault(HEADS, {})[name] = value
    return parts


def join_parts(parts: Mapping[str, Mapping]) -> dict[str, Any]:
    """Inverse of ``split_parts``."""
    params = {name: parts[name] for name in parts if name != HEADS}
    return params | dict(parts.get(HEADS, {}))


# Orbax warns of every store that is opened for reading.
_READING = ("Given directory is read only", "CheckpointManagerOptions.read_only=True")
logging.getLogger("absl").addFilter(lambda record: not record.getMessage().startswith(_READING))


class Store:
    """Saves and restores the steps of one run."""

    def __init__(self, directory: Path, config: KeepConfig | None = None, read_only: bool = False):
        """Opens ``directory`` (made when missing, unless ``read_only``); a reader takes the best metric from its steps.

        A step whose files are damaged is passed over; unless ``read_only`` it is also moved to ``broken_checkpoints``
        beside ``directory``, so that it can be saved again. Nothing is deleted.

        Raises:
          CheckpointError: There is nothing to read, or every step is damaged.
        """
        directory = Path(directory).absolute()
        if read_only and not directory.is_dir():
            raise CheckpointError(f"no checkpoints in {directory}; train first, or name the workdir of a run.")
        config = config or (None if read_only else KeepConfig())
        self._directory, self._best_metric = directory, config.best_metric if config else None
        self._saving: int | None = None

        def score(metrics: Mapping[str, float]) -> float:
            return metrics[config.best_metric]

        if read_only:
            names = WithoutSteps(find_damage(directory))
            options = ocp.CheckpointManagerOptions(read_only=True, create=False, step_name_format=names)
        else:
            clear_damage(directory)
            best = keep.BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)
            options = ocp.CheckpointManagerOptions(
                best_fn=score,
                preservation_policy=keep.AnyPreservationPolicy([keep.LatestN(config.latest), best]),
                async_options=ocp.options.AsyncOptions(post_finalization_callback=self._list_sizes),
            )
        known = type_handlers()
        handlers = {
            name: ocp.PyTreeCheckpointHandler(type_handler_registry=known, use_compression=False)
            for name in (*PARTS, HEADS, OPTIMIZER)
        }
        handlers |= {name: ocp.JsonCheckpointHandler() for name in (POSITION, CONFIG)}
        self._manager = ocp.CheckpointManager(directory, item_handlers=handlers, options=options)

    def latest(self) -> int | None:
        """The newest whole step, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step with the highest best-metric, or the newest when no step has one."""
        if self._best_metric is None and (latest := self.latest()) is not None:
            self._best_metric = self.config(latest).get("keep", {}).get("best_metric", KeepConfig.best_metric)
        scored = {}
        for step in self._manager.all_steps():
            metrics = self._manager.metrics(step) or {}
            if self._best_metric in metrics:
                scored[step] = metrics[self._best_metric]
        return max(scored, key=lambda step: (scored[step], -step)) if scored else self.latest()

    def resolve(self, which: Which | int) -> int:
        """The number of the best or the latest step; a number stays as it is.

        Raises:
          CheckpointError: No step was saved yet.
        """
        step = which if isinstance(which, int) else self.best() if which == "best" else self.latest()
        if step is None:
            raise CheckpointError(f"'{self._directory.parent}' holds no finished checkpoint yet; train it first.")
        return step

    def set_aside(self, step: int, reason: str) -> None:
        """Moves an unreadable step away, so that the one before it is the latest.

        Raises:
          CheckpointError: There is none before it, or other processes are about to read this one.
        """
        earlier = max((known for known in self._manager.all_steps() if known < step), default=None)
        if earlier is None:
            raise nothing_whole(self._directory, {step: reason})
        if jax.process_count() > 1:
            raise CheckpointError(
                f"{reason} Move {self._directory / str(step)} away and start the same command again: it resumes at "
                f"step {earlier}."
            )
        move_aside(self._directory, step, reason)
        self._manager.reload()

    def save(
        self,
        step: int,
        params: Mapping[str, Any],
        optimizer: Any,
        position: Mapping[str, Any],
        config: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        pieces: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        """Starts saving a step: arrays are copied before this returns and written in the background.

        Lazy arrays are read and written one after the other before this returns, in ``pieces`` as in ``save_args``. A
        model that is not trained here has no optimiser's state (None).

        Raises:
          CheckpointError: The disk is too full for one more checkpoint. The former ones are untouched.
        """
        if metrics and self._best_metric and self._best_metric not in metrics:
            raise ConfigError(
                f"config.keep.best_metric is '{self._best_metric}', which evaluation does not give."
                f"{nearest(self._best_metric, metrics)}"
            )
        self._check_space(params, optimizer)
        places = split_parts(save_args(params, pieces or {}))
        items: dict[str, Any] = {
            name: ocp.args.PyTreeSave(part, places[name]) for name, part in split_parts(params).items()
        }
        if optimizer is not None:
            items[OPTIMIZER] = ocp.args.PyTreeSave(optimizer)
        items[POSITION] = ocp.args.JsonSave(dict(position))
        items[CONFIG] = ocp.args.JsonSave(dict(config))
        scored = dict(metrics) if metrics and self._best_metric in metrics else None
        self.wait()  # Orbax would, too; the size list of the step before is written with that one's number.
        self._saving = step
        try:
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=scored)
        except (OSError, ValueError) as error:
            raise self._failed(step, error) from error

    def wait(self) -> None:
        """Waits until every started save is on disk.

        Raises:
          CheckpointError: A save failed.
        """
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._failed("the last", error) from error

    def close(self) -> None:
        """Waits and releases the manager."""
        self.wait()
        self._manager.close()

    def restore_params(
        self, step: int, like: Mapping[str, Any] | None = None, only: str | None = None
    ) -> dict[str, Any]:
        """Returns the parameters of ``step``: the parts that ``like`` holds, on its shardings.

        Without ``like``, a tree of ``jax.ShapeDtypeStruct``, they are numpy arrays: all of them, or one top-level name.

        Raises:
          CheckpointError: Names or shapes differ from ``like``, all of them listed, or the files cannot be read.
        """
        shapes = self.param_shapes(step)
        if like is None:
            items = (only if only in PARTS else HEADS) if only else None
            shapes = {name: x for name, x in shapes.items() if items in (None, name if name in PARTS else HEADS)}
            like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), shapes)
            place = ocp.RestoreArgs(restore_type=np.ndarray)
            restore_args = jax.tree.map(lambda _: place, like)
        else:
            complaints = name_report(like, {name: shapes[name] for name in shapes if name in like})
            if complaints:
                raise CheckpointError(
                    f"step {step} in {self._directory} does not fit the model: {'; '.join(complaints)}."
                )
            restore_args = _placed_as(like)
        places = split_parts(restore_args)
        args = {
            name: ocp.args.PyTreeRestore(part, restore_args=places[name]) for name, part in split_parts(like).items()
        }
        return join_parts(self._restore(step, args))

    def lazy_params(self, step: int) -> dict[str, Any]:
        """The parameters of ``step`` as lazy arrays, each of which is read alone when it is needed.

        Raises:
          CheckpointError: The files cannot be read, now or later.
        """

        def leaf(path: str, x: jax.ShapeDtypeStruct) -> LazyArray:
            return LazyArray(x.shape, x.dtype, lambda: self._read_one(step, path, x))

        return trees.map_with_path(leaf, self.param_shapes(step))

    def _read_one(self, step: int, path: str, x: jax.ShapeDtypeStruct) -> np.ndarray:
        (item, like), (_, places) = (
            next(iter(split_parts(trees.unflatten({path: value})).items()))
            for value in (x, ocp.RestoreArgs(restore_type=np.ndarray))
        )
        args = {item: ocp.args.PyTreeRestore(like, restore_args=places, partial_restore=True)}
        return trees.flatten(join_parts(self._restore(step, args)))[path]

    def restore_optimizer(self, step: int, like: Any) -> Any:
        """Returns the optimiser state of ``step``, on the shardings of ``like``."""
        return self._restore(step, {OPTIMIZER: ocp.args.PyTreeRestore(like, restore_args=_placed_as(like))})[OPTIMIZER]

    def position(self, step: int) -> dict[str, Any]:
        """Returns the position of ``step`` in its data."""
        return self._restore(step, {POSITION: ocp.args.JsonRestore()})[POSITION]

    def config(self, step: int) -> dict[str, Any]:
        """Returns the configuration that ``step`` was trained with."""
        return self._restore(step, {CONFIG: ocp.args.JsonRestore()})[CONFIG]

    def param_shapes(self, step: int) -> dict[str, Any]:
        """Tree of shapes and dtypes of the saved parameters, without reading them."""
        try:
            metadata = self._manager.item_metadata(step)
        except (OSError, ValueError) as error:
            raise self._unreadable(step, error) from error
        parts = {}
        for name, item in metadata.items():
            if name in (*PARTS, HEADS) and item is not None:
                parts[name] = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(item.tree))
        return join_parts(parts)

    def _restore(self, step: int, args: dict[str, Any]) -> dict[str, Any]:
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**args))
        except (OSError, ValueError, KeyError) as error:
            raise self._unreadable(step, error) from error
        return {name: restored[name] for name in args}

    def _list_sizes(self) -> None:
        """Writes the list of sizes; orbax calls this when all files of a step are written, before it gets its name."""
        if jax.process_index() == 0:
            for place in self._directory.glob(f"{self._saving}.orbax-checkpoint-tmp*"):
                write_sizes(place)

    def _unreadable(self, step: int, error: Exception) -> UnreadableCheckpoint:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return UnreadableCheckpoint(f"step {step} in {self._directory} cannot be read: {reason}.")

    def _check_space(self, *items: Any) -> None:
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(items)) + 2**20
        free = shutil.disk_usage(self._directory).free
        if free < needed:
            raise CheckpointError(
                f"a checkpoint needs {needed / 1e6:.0f} MB, but the disk of {self._directory} has {free / 1e6:.0f} MB "
                f"left; free some space and start the same command again: it resumes at the last checkpoint."
            )

    def _failed(self, step: int | str, error: Exception) -> CheckpointError:
        full = any(word in str(error) for word in ("No space left", "RESOURCE_EXHAUSTED", "Disk quota"))
        reason = "the disk is full" if full else str(error).splitlines()[0]
        return CheckpointError(
            f"saving {'step ' + str(step) if isinstance(step, int) else step + ' step'} to {self._directory} failed: "
            f"{reason}. Former checkpoints are intact; mend this and start the same command again: it resumes."
        )


def _placed_as(like: Any) -> Any:
    """Restore arguments that put every array on the sharding of its ``jax.ShapeDtypeStruct``."""
    return jax.tree.map(lambda x: ocp.ArrayRestoreArgs(sharding=x.sharding, global_shape=x.shape, dtype=x.dtype), like)


def name_report(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Lists missing, extra and misshaped names of ``found`` against ``wanted``; empty when they agree."""
    wanted, found = trees.flatten(wanted), trees.flatten(found)
    lines = [f"missing '{name}' {tuple(wanted[name].shape)}" for name in wanted if name not in found]
    lines += [f"extra '{name}' {tuple(found[name].shape)}" for name in found if name not in wanted]
    lines += [
        f"'{name}' has shape {tuple(found[name].shape)} where {tuple(wanted[name].shape)} is needed"
        for name in wanted
        if name in found and tuple(found[name].shape) != tuple(wanted[name].shape)
    ]
    return lines
