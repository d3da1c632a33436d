"""The loop: the order in which batches, steps, evaluations, records and checkpoints happen, and nothing else.

DO NOT CHANGE THE ORDER. A record is written before the checkpoint of its step, and a resumed run cuts the records
back to its checkpoint: so a run that was killed anywhere ends with the metrics of one that was not.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.stages import Compiled

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import Interrupted
from hilight_jax.core.progress import Progress
from hilight_jax.training.device_batches import DeviceBatches
from hilight_jax.training.long_runs.goodput import Clock, Goodput, Pace
from hilight_jax.training.long_runs.preemption import MaintenanceWatch, Preemption
from hilight_jax.training.long_runs.profiling import Profile, profiled_steps
from hilight_jax.training.long_runs.watchdog import Watchdog
from hilight_jax.training.metrics import FiniteCheck, MetricsWriter
from hilight_jax.training.optimizer import schedule
from hilight_jax.training.steps import TrainState
from hilight_jax.training.trainer import Trainer

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Calls that the loop makes between steps.

    Attributes:
      evaluate: ``(params, step) -> figures``, every ``eval_every`` steps and after the last.
      check_batch: Gets every host batch before its step; raises when too many clips are bad.
      check_run: Runs before every checkpoint; raises when what was read so far is not worth keeping.
      log: Writes a line for the user.
    """

    evaluate: Callable[[Mapping[str, Any], int], dict[str, float]] = lambda params, step: {}
    check_batch: Callable[[Mapping[str, Any]], None] = lambda batch: None
    check_run: Callable[[], None] = lambda: None
    log: Callable[[str], None] = lambda line: None


def run(
    trainer: Trainer,
    state: TrainState,
    batches: Iterator[Mapping[str, Any]],
    store: Store,
    workdir: Path,
    hooks: Hooks,
    clock: Clock | None = None,
) -> TrainState:
    """Trains from ``state`` to the last step of the config.

    The step is compiled before it first runs on batches of some shape, so that compiling is timed apart. Steps run
    behind: the loop hands one to the devices and then waits for the one before it.

    Args:
      trainer: The step.
      state: Where to start.
      batches: This host's slices of the global batches, from step ``state.step`` on.
      store: Receives checkpoints.
      workdir: Receives metrics and ``goodput.json``.
      hooks: What the stage does between steps.
      clock: The time of this start so far; None starts one now.

    Raises:
      TrainingError: A loss or gradient is not finite, and not to be skipped. Nothing of that step is saved.
      Interrupted: The run was asked to stop. Its last step is saved.
    """
    config, clock = trainer.config, clock or Clock()
    start = int(state.step)
    rate = schedule(config.optimizer, config.steps)
    compiled: dict[tuple, Compiled] = {}  # By the shapes of the batch: texts may be padded to one of several lengths.
    behind = None
    with contextlib.ExitStack() as at_end:  # Last in, first out: whatever fails, a started save is finished.
        clock.begin_loop()
        goodput = at_end.enter_context(Goodput(workdir, start, clock, hooks.log))
        preemption = at_end.enter_context(Preemption())
        if jax.default_backend() == "tpu":
            at_end.enter_context(MaintenanceWatch())
        at_end.callback(_wait, store, clock)
        writer = at_end.enter_context(MetricsWriter(workdir, start))
        check = FiniteCheck(config.max_skipped_steps, writer.kept, writer.write, hooks.log)
        progress = Progress(config.steps, "train", unit="steps", start=start)
        at_end.callback(progress.close)
        profile = at_end.enter_context(Profile(profiled_steps(config.profile, config.steps), workdir))
        watchdog = at_end.enter_context(_watchdog(config.stall_seconds, clock, workdir))
        pace = Pace(clock, start, config.batch_size)
        placed = at_end.enter_context(DeviceBatches(batches, trainer.put_batch))
        for step in range(start + 1, config.steps + 1):
            with clock.activity("data"):
                host_batch, batch = next(placed)
            hooks.check_batch(host_batch)
            shapes = tuple(x.shape for x in batch.values())
            if shapes not in compiled:
                with clock.activity("compile"):
                    compiled[shapes] = trainer.train_step.lower(state, batch).compile()
            with clock.activity("step"):
                profile.before(step, state)
                with jax.profiler.StepTraceAnnotation("train", step_num=step), jax.transfer_guard("disallow"):
                    state, metrics = compiled[shapes](state, batch)
                if behind is not None:
                    check(*behind)
            behind = (step, metrics)
            stops = preemption.requested(step) and step < config.steps
            logs = step % config.log_every == 0 or step == config.steps
            evaluates = step % config.eval_every == 0 or step == config.steps
            saves = evaluates or stops or step % config.keep.every == 0
            values: dict[str, float] = {}
            figures: dict[str, float] = {}
            with clock.activity("step"):
                if logs or saves:
                    values = check(step, metrics)
                profile.after(step, state)
            if logs:
                writer.write(step, {**values, "learning_rate": float(rate(step - 1)), **pace.figures(step)})
                goodput.touch()
            watchdog.finished(step)
            progress.update(note=f"loss {values['loss']:.3f}" if logs and "loss" in values else "")
            if evaluates:
                with clock.activity("evaluation"):
                    figures = hooks.evaluate(state.params, step)
                if figures:
                    writer.write(step, figures)
            if saves:
                hooks.check_run()
                with clock.activity("checkpoint"):
                    trainer.save(store, state, figures)
                goodput.saved(step)
            if stops:
                _wait(store, clock)
                raise Interrupted(f"interrupted: step {step} is saved. Start the same command again: it resumes.")
    return state


def _wait(store: Store, clock: Clock) -> None:
    """Waits until every checkpoint is written."""
    with clock.activity("checkpoint"):
        store.wait()


def _watchdog(seconds: float, clock: Clock, workdir: Path) -> Watchdog:
    """The watchdog of this process: when one process stalls all do, and each reports its own activity."""
    number = f"process {jax.process_index()}: " if jax.process_count() > 1 else ""
    stacks = workdir / f"stalls{f'-{jax.process_index()}' if number else ''}.txt"
    return Watchdog(seconds, lambda: clock.current, lambda line: _LOG.warning("%s%s", number, line), stacks)
