"""Times the way of clips into training: drawing, decoding, and the whole input pipeline."""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hilight_jax.billiards.worlds import WORLDS, World, get_world
from hilight_jax.core.errors import UserError
from hilight_jax.data import video
from hilight_jax.data.clips import ClipLoader
from hilight_jax.data.config import DataConfig
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.data.records import Source
from hilight_jax.data.sources import open_source
from hilight_jax.stages.encoder_config import EncoderTrainConfig

# Pixels of all clips that are drawn by default: enough that starting the processes hardly counts.
PIXELS = 10_000_000


def measure(
    config: EncoderTrainConfig, world: str | None, clips: int | None, data_dir: Path, workers: int, batch_size: int
) -> dict[str, Any]:
    """Draws clips of a billiards world into a folder of their own, reads them by ``config.data``, and cleans up.

    By default it is the world of the config, and as many clips as have ``PIXELS`` together. ``workers`` draw;
    ``batch_size`` is that of the pipeline.

    Returns:
      Clips per second of each part, and the settings.

    Raises:
      UserError: There is no such world, or drawing failed.
    """
    drawn = get_world(world) if world else world_of(config)
    clips = clips or max(64, round(PIXELS / (drawn.num_frames * drawn.height * drawn.width)))
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=data_dir) as folder:
        made = _generate(drawn, clips, folder, workers)
        rates = read_rates(config.data, open_source(f"tfds:{made['directory']}/train"), batch_size)
    return {
        "world": drawn.name,
        "generation_clips_per_second": made["clips_per_second"],
        **rates,
        "clips": clips,
        "generation_workers": made["workers"],
        "decode_threads": 1,
        "pipeline_workers": config.data.num_workers,
        "pipeline_threads": config.data.num_threads,
        "num_frames": config.data.num_frames,
        "image_size": config.data.image_size,
    }


def world_of(config: EncoderTrainConfig) -> World:
    """The world that the config trains on, or else the one whose clips have the config's size.

    Raises:
      UserError: There is none.
    """
    data = config.data
    size = (data.num_frames, data.image_size, data.image_size)
    named = [world for name, world in WORLDS.items() if name in Path(data.train.rpartition(":")[2]).parts]
    sized = [world for world in WORLDS.values() if (world.num_frames, world.height, world.width) == size]
    if not named + sized:
        raise UserError(
            f"no billiards world has clips of {data.num_frames} frames of {data.image_size} pixels; name one with "
            f"--world, out of {', '.join(WORLDS)}."
        )
    return (named + sized)[0]


def read_rates(config: DataConfig, source: Source, batch_size: int, seconds: float = 5.0) -> dict[str, float]:
    """Measures the reading of clips, over and over, for some seconds after a first batch or clip that is not counted.

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


def _generate(world: World, clips: int, folder: str, workers: int) -> dict[str, Any]:
    """Runs the command ``generate`` in a process of its own and returns the JSON that it prints last."""
    command = ["-m", "hilight_jax.generate", "--world", world.name, "--data_dir", folder, "--json"]
    command += ["--workers", str(workers)]
    for split in (f"train={clips}", "validation=0", "unseen=0"):
        command += ["--split", split]
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"'python {' '.join(command)}' failed; mend what it names above.")
    return json.loads(done.stdout.splitlines()[-1])


def _rate(work: Callable[[int], int], seconds: float) -> float:
    """Clips per second of ``work(number)``, which returns how many clips it did."""
    work(0)
    done, began = 0, time.perf_counter()
    for number in itertools.count(1):
        done += work(number)
        elapsed = time.perf_counter() - began
        if elapsed >= seconds:
            return done / elapsed
