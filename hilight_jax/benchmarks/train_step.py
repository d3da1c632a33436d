"""Times the train step of a stage and compares it with the machine's own matrix multiplication speed."""

import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.benchmarks.machine import Limit, allocator, peak_memory, products, seconds
from hilight_jax.core.mesh import batch_shards, make_mesh
from hilight_jax.core.progress import Progress
from hilight_jax.stages.table import STAGES
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.trainer import Trainer

REPEATS = 5
# Fast steps are timed in runs of this length, so that waiting for the device is not what is timed.
SECONDS_PER_ROUND = 0.5
FEWEST_ROUNDS = 3
# One token in so many is a query of the local loss. The demo's captions have four queries in 48 positions, because
# the loss reads content words only and takes all that name one thing together.
TOKENS_PER_QUERY = 8
# Arrays of words, and whose vocabulary they are of.
WORDS = {"text_ids": "text", "caption_ids": "text", "swap_ids": "text", "ids": "gemma", "labels": "gemma"}


def measure(config: RunConfig, batch_size: int | None, steps: int) -> dict[str, Any]:
    """Times the compiled train step of ``config`` on random examples, on all devices of its mesh, and the peak beside.

    ``batch_size`` is by default the config's, or a few examples on a CPU; groups of the local loss shrink to it. At
    least ``steps`` are timed. The chat stages get random features: their frozen towers are a program of their own.

    Returns:
      Seconds per step, clips (of the encoder) or conversations (of the chat stages) per second, model FLOPs per second
      (all devices together), the measured peak, the fraction of it, and the peak memory (of the process on a CPU, of
      the fullest device otherwise).
    """
    config = _with_batch_size(config, batch_size)
    mesh = make_mesh(config.mesh)
    row = STAGES[config.stage]
    assert row.objective is not None and row.step_flops is not None  # ``benchmark`` lists the stages that train.
    trainer = Trainer(config, row.objective(config, mesh), mesh)
    state, batch = trainer.init_state(), trainer.put_batch(_random_batch(trainer))
    began = time.perf_counter()
    step = trainer.train_step.lower(state, batch).compile()
    compile_seconds = time.perf_counter() - began
    tokens, width, mlp_dim = _mlp(config)
    rows = config.batch_size // config.accumulate // batch_shards(mesh) * tokens
    dtype = config.model.compute.dtypes["dtype"]
    peak = Limit(products(rows, width, mlp_dim, dtype, mesh), REPEATS)

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
    flops = row.step_flops(config)
    return {
        "step_seconds": step_seconds,
        f"{'clips' if config.stage == 'encoder' else 'conversations'}_per_second": config.batch_size / step_seconds,
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


def _mlp(config: RunConfig) -> tuple[int, int, int]:
    """Tokens of an example, width and hidden width of the MLPs that most of the step's FLOPs are in."""
    if config.stage == "encoder":
        vision = config.model.vision
        return vision.num_proxy_tokens + config.data.num_frames * vision.num_patches, vision.width, vision.mlp_dim
    return max(config.data.buckets), config.model.gemma.width, config.model.gemma.mlp_dim


def _with_batch_size(config: RunConfig, batch_size: int | None) -> RunConfig:
    """The default is the config's batch; on a CPU only 4 examples, or one group that the local loss contrasts."""
    few = 4
    if config.stage == "encoder" and config.loss.local.across_clips:
        few = config.loss.local.group_size
    if batch_size is None:
        batch_size = min(config.batch_size, few) if jax.default_backend() == "cpu" else config.batch_size
    config = dataclasses.replace(config, batch_size=batch_size)
    if config.stage != "encoder":
        return config
    local = dataclasses.replace(config.loss.local, group_size=min(config.loss.local.group_size, batch_size))
    return dataclasses.replace(config, loss=dataclasses.replace(config.loss, local=local))


def _random_batch(trainer: Trainer) -> dict[str, np.ndarray]:
    """The example batch with noise for pixels and features and random words, so that no value is special."""
    generator = np.random.default_rng(0)
    batch = trainer.objective.example_batch(trainer.config.batch_size)
    for name, x in batch.items():
        if name in WORDS:
            vocabulary = getattr(trainer.config.model, WORDS[name]).vocab_size
            batch[name] = generator.integers(1, vocabulary, x.shape, np.int32)
        elif x.dtype == np.uint8:
            batch[name] = generator.integers(0, 256, x.shape, np.uint8)
        elif x.dtype == bool:
            batch[name] = np.ones_like(x)
        elif jnp.issubdtype(x.dtype, jnp.floating):
            batch[name] = generator.standard_normal(x.shape, np.float32).astype(x.dtype)
    if "local_mask" in batch:
        batch["local_mask"][:] = np.arange(batch["local_mask"].shape[1]) % TOKENS_PER_QUERY == 0
    return batch
