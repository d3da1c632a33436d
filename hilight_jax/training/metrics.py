"""Metrics of a run: one JSON line per record in ``metrics.jsonl``, the same figures as TensorBoard events."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import jax
from tensorboardX import SummaryWriter


class MetricsWriter:
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

    def __enter__(self) -> "MetricsWriter":
        """Returns itself."""
        return self

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
