"""The loop: the order in which batches, steps, evaluations, records and checkpoints happen, and nothing else.

DO NOT CHANGE THE ORDER. A record is written before the checkpoint of its step, and a resumed run cuts the records
back to its checkpoint: so a run that was killed anywhere ends with the metrics of one that was not.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import TrainingError
from hilight_jax.core.progress import Progress
from hilight_jax.training.metrics import MetricsWriter
from hilight_jax.training.optimizer import schedule
from hilight_jax.training.state import TrainState
from hilight_jax.training.trainer import Trainer

Evaluate = Callable[[Mapping[str, Any], int], dict[str, float]]


def run(
    trainer: Trainer,
    state: TrainState,
    batches: Iterator[Mapping[str, Any]],
    store: Store,
    workdir: Path,
    evaluate: Evaluate,
    watch: Callable[[Mapping[str, Any]], None] = lambda batch: None,
    judge: Callable[[], None] = lambda: None,
) -> TrainState:
    """Trains from ``state`` to the last step of the config.

    Args:
      trainer: The compiled step.
      state: Where to start.
      batches: This host's slices of the global batches, from step ``state.step`` on.
      store: Receives checkpoints.
      workdir: Receives metrics.
      evaluate: ``(params, step) -> figures``, called every ``eval_every`` steps and after the last.
      watch: Sees every host batch before its step; raises when too many clips are bad.
      judge: Is asked before every checkpoint; raises when what was seen so far is not worth keeping.

    Raises:
      TrainingError: A loss or gradient is not finite. Nothing of that step is saved.
    """
    config = trainer.config
    start = int(state.step)
    rate = schedule(config.optimizer, config.steps)
    progress = Progress(config.steps, "train", unit="steps", start=start)
    logged, since, waited = start, time.monotonic(), 0.0
    behind = None
    with contextlib.ExitStack() as at_end:  # Last in, first out: whatever fails, a started save is finished.
        at_end.callback(store.wait)
        writer = at_end.enter_context(MetricsWriter(workdir, start))
        at_end.callback(progress.close)
        for step in range(start + 1, config.steps + 1):
            before = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - before
            watch(batch)
            state, metrics = trainer.train_step(state, trainer.put_batch(batch))
            if behind is not None:
                _check_finite(*behind)
            behind = (step, metrics)
            logs = step % config.log_every == 0 or step == config.steps
            evaluates = step % config.eval_every == 0 or step == config.steps
            saves = evaluates or step % config.keep.every == 0
            figures: dict[str, float] = {}
            if logs or evaluates or saves:
                values = _check_finite(step, metrics)
            if logs:
                seconds = time.monotonic() - since
                timing = {"seconds_per_step": seconds / (step - logged), "data_wait_share": waited / max(seconds, 1e-9)}
                writer.write(step, {**values, "learning_rate": float(rate(step - 1)), **timing})
                logged, since, waited = step, time.monotonic(), 0.0
            progress.update(note=f"loss {values['loss']:.3f}" if logs else "")
            if evaluates:
                paused = time.monotonic()
                figures = evaluate(state.params, step)
                if figures:
                    writer.write(step, figures)
                since += time.monotonic() - paused
            if saves:
                judge()
                trainer.save(store, state, figures)
    return state


def _check_finite(step: int, metrics: Mapping[str, jax.Array]) -> dict[str, float]:
    """Fetches the metrics of a step; raises when one is not a finite number."""
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise TrainingError(
            f"step {step}: {', '.join(f'{name} is {values[name]}' for name in broken)}. Training stopped and the last "
            f"good checkpoint is kept; look at the clips of this step, or train in a new workdir with a lower "
            f"config.optimizer.learning_rate."
        )
    return values
