"""Times the encoder's train step and compares it with the machine's own matrix multiplication speed."""

import dataclasses
import statistics
import time
from typing import Any

import jax
import numpy as np

from hilight_jax.benchmarks.machine import Limit, allocator, peak_memory, products, seconds
from hilight_jax.core.mesh import batch_shards, make_mesh
from hilight_jax.core.progress import Progress
from hilight_jax.stages.encoder import EncoderObjective
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.flops import encoder_step_flops
from hilight_jax.training.trainer import Trainer

REPEATS = 5
# Fast steps are timed in runs of this length, so that waiting for the device is not what is timed.
SECONDS_PER_ROUND = 0.5
FEWEST_ROUNDS = 3


def measure(config: EncoderTrainConfig, batch_size: int | None, steps: int) -> dict[str, Any]:
    """Times the compiled train step of ``config`` on random clips, on all devices of its mesh, and the peak beside it.

    ``batch_size`` is by default the config's, or a few clips on a CPU; groups of the local loss shrink to it. At least
    ``steps`` are timed.

    Returns:
      Seconds per step, clips per second, model FLOPs per second (all devices together), the measured peak, the
      fraction of it, and the peak memory (of the process on a CPU, of the fullest device otherwise).
    """
    config = _with_batch_size(config, batch_size)
    mesh = make_mesh(config.mesh)
    trainer = Trainer(config, EncoderObjective(config, mesh), mesh)
    state, batch = trainer.init_state(), trainer.put_batch(_random_batch(trainer))
    began = time.perf_counter()
    step = trainer.train_step.lower(state, batch).compile()
    compile_seconds = time.perf_counter() - began
    vision = config.model.vision
    tokens = vision.num_proxy_tokens + config.data.num_frames * vision.num_patches
    rows = config.batch_size // config.accumulate // batch_shards(mesh) * tokens
    dtype = config.model.compute.dtypes["dtype"]
    peak = Limit(products(rows, vision.width, vision.mlp_dim, dtype, mesh), REPEATS)

    def run(number: int) -> None:
        nonlocal state
        metrics = None
        for _ in range(number):
            state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))

    run(1)
    steps_per_round = max(1, round(SECONDS_PER_ROUND / seconds(lambda: run(1))))
    rounds = max(FEWEST_ROUNDS, -(-steps // steps_per_round))
    progress = Progress(rounds, "benchmark", unit="rounds")
    spent: list[float] = []
    for _ in range(rounds):
        peak.measure()
        spent.append(seconds(lambda: run(steps_per_round)) / steps_per_round)
        progress.update()
    progress.close()

    step_seconds = statistics.median(spent)
    flops = encoder_step_flops(config)
    return {
        "step_seconds": step_seconds,
        "clips_per_second": config.batch_size / step_seconds,
        "model_flops": flops,
        "model_flops_per_second": flops / step_seconds,
        "matmul_peak_flops_per_second": peak.speed(),
        "fraction_of_peak": flops / step_seconds / peak.speed(),
        "matmul_flops_per_second": peak.speeds(),
        "peak_memory_bytes": peak_memory(mesh.devices.flat),
        "compile_seconds": compile_seconds,
        "steps": rounds * steps_per_round,
        "batch_size": config.batch_size,
        "dtype": dtype.name,
        "devices": mesh.size,
        "platform": mesh.devices.flat[0].platform,
        "allocator": allocator(),
    }


def _with_batch_size(config: EncoderTrainConfig, batch_size: int | None) -> EncoderTrainConfig:
    """The default is the config's batch; on a CPU only 4 clips, or one group of those that the local loss contrasts."""
    local = config.loss.local
    if batch_size is None:
        few = local.group_size if local.across_clips else 4
        batch_size = min(config.batch_size, few) if jax.default_backend() == "cpu" else config.batch_size
    local = dataclasses.replace(local, group_size=min(local.group_size, batch_size))
    return dataclasses.replace(config, batch_size=batch_size, loss=dataclasses.replace(config.loss, local=local))


def _random_batch(trainer: Trainer) -> dict[str, np.ndarray]:
    """The example batch with noise for pixels and random words, so that no value is special."""
    generator = np.random.default_rng(0)
    batch = trainer.objective.example_batch(trainer.config.batch_size)
    for name in batch.keys() & {"video", "frame"}:
        batch[name] = generator.integers(0, 256, batch[name].shape, np.uint8)
    for name in batch.keys() & {"text_ids", "caption_ids"}:
        batch[name] = generator.integers(1, trainer.config.model.text.vocab_size, batch[name].shape, np.int32)
    for name in batch.keys() & {"text_mask", "local_mask", "caption_mask"}:
        batch[name] = np.ones_like(batch[name])
    return batch
