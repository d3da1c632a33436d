"""Checks that the metrics of every step are finite: stops the run, or lets a few steps be skipped."""

import math
from collections.abc import Callable, Iterable, Mapping

import jax

from hilight_jax.core.errors import TrainingError


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
