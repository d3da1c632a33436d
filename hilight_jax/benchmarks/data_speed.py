"""How fast clips are read: decoding alone, and the whole input pipeline."""

import itertools
import time
from collections.abc import Callable

from hilight_jax.data import video
from hilight_jax.data.clips import ClipLoader
from hilight_jax.data.config import DataConfig
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.data.records import Source


def measure(config: DataConfig, source: Source, batch_size: int = 16, seconds: float = 5.0) -> dict[str, float]:
    """Measures clips per second on this machine.

    Args:
      config: Frames, size, threads and workers of the pipeline.
      source: Clips to read, over and over.
      batch_size: Clips of a batch.
      seconds: Time for each of the two figures, after a first batch or clip that is not counted.

    Returns:
      ``decode_clips_per_second`` of one thread, and ``pipeline_clips_per_second`` of the pipeline as configured.
    """

    def decode(number: int) -> int:
        video.decode(source[number % len(source)].video, lambda n: uniform_indices(n, config.num_frames))
        return 1

    figures = {"decode_clips_per_second": _rate(decode, seconds)}
    with Pipeline(config, source, ClipLoader(config, source, seed=0)).batches(batch_size) as batches:
        figures["pipeline_clips_per_second"] = _rate(lambda _: len(next(batches)["index"]), seconds)
    return figures


def _rate(work: Callable[[int], int], seconds: float) -> float:
    """Clips per second of ``work(number)``, which returns how many clips it did."""
    work(0)
    done, began = 0, time.perf_counter()
    for number in itertools.count(1):
        done += work(number)
        elapsed = time.perf_counter() - began
        if elapsed >= seconds:
            return done / elapsed
