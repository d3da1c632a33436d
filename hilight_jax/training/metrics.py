"""Metrics of a run, checked to be finite: a line of JSON per record in ``metrics.jsonl``, and TensorBoard events."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import jax
from tensorboardX import SummaryWriter

from hilight_jax.core.errors import TrainingError


class MetricsWriter(contextlib.AbstractContextManager):
    """Appends records; a resumed run first cuts off what was written after its checkpoint."""

    def __init__(self, workdir: Path, start_step: int):
        """Opens the files in ``workdir`` and keeps only records of steps up to ``start_step``.

        Of several processes only the first writes; all of them read ``kept``.
        """
        self._writes = jax.process_index() == 0
        self.kept = [record for record in read_metrics(workdir) if record["step"] <= start_step]
        if not self._writes:
            return
        self._path = workdir / "metrics.jsonl"
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(record) + "\n" for record in self.kept))
        os.replace(partial, self._path)
        self._file = self._path.open("a")
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1 if start_step else None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one record and flushes it."""
        if not self._writes:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                self._events.add_scalar(name, value, step)

    def __exit__(self, *_) -> None:
        """Closes both files."""
        if self._writes:
            self._file.close()
            self._events.close()


def read_metrics(workdir: Path) -> list[dict]:
    """Returns the records of a run up to the first damaged line: a kill may cut the last one short."""
    path = Path(workdir) / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(record, dict) or "step" not in record:
            break
        records.append(record)
    return records


class FiniteCheck:
    """Counts the steps that left the state as it was because their loss or gradient was not finite."""

    def __init__(
        self,
        most: int,
        before: Iterable[Mapping[str, float]],
        record: Callable[[int, dict[str, float]], None],
        log: Callable[[str], None] = lambda line: None,
    ):
        """Starts with what was skipped before.

        Args:
          most: How many steps of the whole run may be skipped.
          before: The records of the steps that are kept; a skipped one has ``skipped``.
          record: Writes the record of a step.
          log: Writes a line for the user.
        """
        self._most, self._record, self._log = most, record, log
        self._skipped = {entry["step"] for entry in before if entry.get("skipped")}

    def __call__(self, step: int, metrics: Mapping[str, jax.Array]) -> dict[str, float]:
        """Fetches the metrics of a step, which waits for it; drops the metrics of a skipped step that are not finite.

        Raises:
          TrainingError: One is not a finite number and the step was not skipped, or too many were.
        """
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if not broken:
            return values
        what = ", ".join(f"{name} is {values[name]}" for name in broken)
        advice = (
            "Training stopped and the last good checkpoint is kept; look at the clips of this step, or train in a new "
            "workdir with a lower config.optimizer.learning_rate."
        )
        if not values.get("skipped"):
            raise TrainingError(f"step {step}: {what}. {advice}")
        if step not in self._skipped:
            self._skipped.add(step)
            if len(self._skipped) > self._most:
                raise TrainingError(
                    f"step {step}: {what}, and config.max_skipped_steps={self._most} steps were skipped already. "
                    f"{advice}"
                )
            self._record(step, {"skipped": 1.0})
            self._log(f"step {step} was skipped ({len(self._skipped)} of at most {self._most}): {what}")
        return {name: value for name, value in values.items() if name not in broken}
