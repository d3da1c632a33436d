"""How fast a train step runs, and what share of the machine's own matrix multiplication speed that is.

Both are measured in turns, for other work on a shared machine slows both alike: a round measures the peak, then
steps. A product's speed is the median of its repeats, a round's peak that of its fastest product, and what is
reported the median over the rounds: a best of many would catch the quiet moments that a long step cannot have.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hilight_jax.benchmarks.machine import matmul, peak_memory
from hilight_jax.core.mesh import batch_shards, make_mesh
from hilight_jax.core.progress import Progress
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.encoder_flops import train_step_flops
from hilight_jax.stages.encoder_objective import EncoderObjective
from hilight_jax.training.trainer import Trainer

SQUARE = {"cpu": 4096, "gpu": 8192, "tpu": 8192}
REPEATS = 5
# Fast steps are timed in runs of this length, so that waiting for the device is not what is timed.
SECONDS_PER_ROUND = 0.5
FEWEST_ROUNDS = 3


def measure(config: EncoderTrainConfig, steps: int) -> dict[str, Any]:
    """Times the compiled train step of ``config`` on random clips, and the peak beside it.

    Args:
      config: The run whose step is measured, on all devices of its mesh.
      steps: How many steps to time, at least.

    Returns:
      Seconds per step, clips per second, model FLOPs per second (all devices together), the measured peak, the
      fraction of it, and the peak memory (of the process on a CPU, of the fullest device otherwise).
    """
    mesh = make_mesh(config.mesh)
    trainer = Trainer(config, EncoderObjective(config, mesh), mesh)
    state, batch = trainer.init_state(), trainer.put_batch(_random_batch(trainer))
    began = time.perf_counter()
    step = trainer.train_step.lower(state, batch).compile()
    compile_seconds = time.perf_counter() - began
    products = matmuls(config, mesh)
    state, _ = jax.block_until_ready(step(state, batch))

    began = time.perf_counter()
    state, _ = jax.block_until_ready(step(state, batch))
    steps_per_round = max(1, round(SECONDS_PER_ROUND / (time.perf_counter() - began)))
    rounds = max(FEWEST_ROUNDS, -(-steps // steps_per_round))
    progress = Progress(rounds, "benchmark", unit="rounds")
    peaks: list[dict[str, float]] = []
    seconds: list[float] = []
    for _ in range(rounds):
        peaks.append({name: statistics.median(product() for _ in range(REPEATS)) for name, product in products.items()})
        began = time.perf_counter()
        for _ in range(steps_per_round):
            state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))
        seconds.append((time.perf_counter() - began) / steps_per_round)
        progress.update()
    progress.close()

    step_seconds = statistics.median(seconds)
    flops = train_step_flops(config)
    peak = statistics.median(max(peak.values()) for peak in peaks)
    return {
        "step_seconds": step_seconds,
        "clips_per_second": config.batch_size / step_seconds,
        "model_flops": flops,
        "model_flops_per_second": flops / step_seconds,
        "matmul_peak_flops_per_second": peak,
        "fraction_of_peak": flops / step_seconds / peak,
        "matmul_flops_per_second": {name: statistics.median(peak[name] for peak in peaks) for name in products},
        "peak_memory_bytes": peak_memory(mesh.devices.flat),
        "compile_seconds": compile_seconds,
        "steps": rounds * steps_per_round,
        "batch_size": config.batch_size,
        "dtype": config.model.compute.dtypes["dtype"].name,
        "devices": mesh.size,
        "platform": mesh.devices.flat[0].platform,
    }


def matmuls(config: EncoderTrainConfig, mesh: Mesh) -> dict[str, Callable[[], float]]:
    """Returns, by ``rowsxinnerxcolumns``, functions that run one matrix product and return its FLOPs per second.

    The shapes are a large square and the two that the video tower spends its time in, per device; the type is that of
    the model's activations. Rows are split over the devices, so that nothing is communicated.
    """
    vision, shards = config.model.vision, batch_shards(mesh)
    tokens = vision.num_proxy_tokens + config.data.num_frames * vision.num_patches
    rows = config.batch_size // config.accumulate // shards * tokens
    side = SQUARE.get(mesh.devices.flat[0].platform, 8192)
    shapes = [(side, side, side), (rows, vision.width, vision.mlp_dim), (rows, vision.mlp_dim, vision.width)]
    return {"x".join(map(str, shape)): matmul(shape, config.model.compute.dtypes["dtype"], mesh) for shape in shapes}


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
