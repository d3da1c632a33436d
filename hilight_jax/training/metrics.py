"""Metrics of a run: one JSON line per record in ``metrics.jsonl``, the same figures as TensorBoard events."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter


class MetricsWriter:
    """Appends records; a resumed run first cuts off what was written after its checkpoint."""

    def __init__(self, workdir: Path, start_step: int):
        """Opens the files in ``workdir`` and keeps only records of steps up to ``start_step``."""
        self._path = workdir / "metrics.jsonl"
        kept = [record for record in read_metrics(workdir) if record["step"] <= start_step]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(record) + "\n" for record in kept))
        os.replace(partial, self._path)
        self._file = self._path.open("a")
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1 if start_step else None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one record and flushes it."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Closes both files."""
        self._file.close()
        self._events.close()


def read_metrics(workdir: Path) -> list[dict]:
    """Returns all whole records of a run; a last line torn by a kill is left out."""
    path = Path(workdir) / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records
