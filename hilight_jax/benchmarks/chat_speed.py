"""How fast a chat model of a given size answers, and what share of the machine's own limits that is.

Reading a prompt is matrix products, and is compared with a plain one; every further token needs all of the language
model's weights once, and is compared with a plain read of the same weights. Limits and model are measured in turns, for
other work on a shared machine slows both alike; what is reported is the median over the rounds.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from hilight_jax.benchmarks.machine import matmul, peak_memory, reads
from hilight_jax.core import trees
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.core.progress import Progress
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.key_frames import KeyFrameConfig, choose_key_frames
from hilight_jax.generation.generator import Generator, Prompt, SamplingConfig
from hilight_jax.models.gemma import GemmaConfig
from hilight_jax.models.hilight import HiLightConfig, param_shapes

SQUARE = {"cpu": 4096, "gpu": 8192, "tpu": 8192}
REPEATS = 3
# A question is asked, answered, and followed by a shorter one.
NEXT_QUESTION = 16


def measure(
    config: HiLightConfig, num_frames: int, num_key_frames: int, words: int, new_tokens: int, rounds: int
) -> dict[str, Any]:
    """Times a model with random weights, on one device: a clip, a question about it, the answer, the next question.

    Args:
      config: Sizes of the model.
      num_frames: F, frames of the clip.
      num_key_frames: Of which the frame tower sees so many.
      words: Tokens of the prompt beside those of the clip.
      new_tokens: Tokens of the answer, at least 2.
      rounds: How often.

    Returns:
      Seconds (of the clip, of the prompt, of one more token, of the prompt that goes on), tokens per second, the FLOPs
      and bytes per second that this makes, the limits measured beside them and the fractions of those, the peak memory
      (of the process on a CPU, of the device otherwise).
    """
    prompt_length = config.num_video_tokens(num_key_frames) + words
    length = prompt_length + new_tokens + NEXT_QUESTION + 1
    generator = Generator(config, random_params(config), _Characters(), length)
    weights = jax.tree.leaves(generator.decoder.variables)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    products = _products(config, prompt_length, mesh)
    readers = reads(weights)
    seconds: dict[str, list[float]] = {"clip": [], "prompt": [], "token": [], "next_prompt": []}
    limits: dict[str, list[dict[str, float]]] = {"matmul": [], "read": []}
    progress = Progress(rounds + 1, "benchmark", unit="rounds")
    for i in range(rounds + 1):  # The first one compiles.
        limits["matmul"].append(_speeds(products))
        spent, prompt, answer = _talk(generator, _frames(config, num_frames, i), num_key_frames, words, new_tokens)
        limits["read"].append(_speeds(readers))
        spent["next_prompt"] = _go_on(generator, prompt, answer)
        for name, value in spent.items():
            seconds[name].append(value)
        progress.update()
    progress.close()

    took = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    peak, plain_read = (statistics.median(max(r.values()) for r in limits[name][1:]) for name in ("matmul", "read"))
    size, flops = sum(x.nbytes for x in weights), prompt_flops(config.gemma, prompt_length)
    return {
        "time_to_first_token_seconds": took["clip"] + took["prompt"],
        "tokens_per_second": 1 / took["token"],
        "next_prompt_seconds": took["next_prompt"],
        "clip_seconds": took["clip"],
        "prompt_seconds": took["prompt"],
        "token_seconds": took["token"],
        "prompt_flops_per_second": flops / took["prompt"],
        "matmul_peak_flops_per_second": peak,
        "prompt_fraction_of_matmul": flops / took["prompt"] / peak,
        "token_bytes_per_second": size / took["token"],
        "read_peak_bytes_per_second": plain_read,
        "token_fraction_of_read": size / took["token"] / plain_read,
        "matmul_flops_per_second": _medians(limits["matmul"][1:]),
        "read_bytes_per_second": _medians(limits["read"][1:]),
        "peak_memory_bytes": peak_memory(mesh.devices.flat),
        "weights_bytes": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(param_shapes(config))),
        "language_model_bytes": size,
        "prompt_tokens": prompt_length,
        "video_tokens": prompt_length - words,
        "new_tokens": new_tokens,
        "rounds": rounds,
        "dtype": config.compute.dtypes["dtype"].name,
        "platform": mesh.devices.flat[0].platform,
    }


def random_params(config: HiLightConfig) -> dict[str, Any]:
    """Small random parameters of all parts, made largest first, so that memory never holds much more than they take.

    A block of a million random numbers is repeated: what the values are changes no time.
    """
    block = 0.02 * np.random.default_rng(0).standard_normal(1_000_003, np.float32)
    shapes = trees.flatten(param_shapes(config))
    made = {}
    for path in sorted(shapes, key=lambda path: -shapes[path].size):
        made[path] = jax.device_put(np.resize(block, shapes[path].shape).astype(shapes[path].dtype, copy=False))
        made[path].block_until_ready()
    return trees.unflatten({path: made[path] for path in shapes})


def prompt_flops(config: GemmaConfig, length: int) -> float:
    """Multiplications and additions that reading a prompt needs: padding and what the causal mask hides not counted."""
    inner, kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    layer = config.width * (2 * inner + 2 * kv + 3 * config.mlp_dim)
    attention = 2 * inner * length * (length + 1) / 2
    return 2.0 * (config.depth * (length * layer + attention) + config.width * config.vocab_size)


class _Characters:
    """Every id is one character, so that every token is shown when it comes; none ends an answer."""

    vocab_size = 1
    stop_ids = ()

    def decode(self, ids: Iterable[int]) -> str:
        return "x" * len(list(ids))


def _talk(
    generator: Generator, frames: np.ndarray, num_key_frames: int, words: int, new_tokens: int
) -> tuple[dict[str, float], Prompt, np.ndarray]:
    """Encodes a clip, asks about it, and times both and the tokens of the answer."""
    began = time.perf_counter()
    clip = generator.encode_clip(frames, choose_key_frames(KeyFrameConfig(count=num_key_frames), frames))
    encoded = time.perf_counter()
    ids = np.concatenate([[2], np.full(len(clip.tokens), VIDEO_ID), np.arange(3, words + 2)])
    ids = np.where(ids > 0, ids % generator.config.gemma.vocab_size, ids).astype(np.int32)
    prompt = Prompt(ids, (clip,))
    times = []
    sampling = SamplingConfig(max_new_tokens=new_tokens)
    (answer,) = generator.generate(
        [prompt], sampling, lambda row, text: times.append(time.perf_counter()), reuse_prefix=True
    )
    spent = {
        "clip": encoded - began,
        "prompt": times[0] - encoded,
        "token": statistics.median(np.diff(times).tolist()),
    }
    return spent, prompt, answer.ids


def _go_on(generator: Generator, prompt: Prompt, answer: np.ndarray) -> float:
    """Seconds until the first token of the answer to a further question."""
    ids = np.concatenate([prompt.ids, answer, np.arange(3, 3 + NEXT_QUESTION)]).astype(np.int32)
    began = time.perf_counter()
    generator.generate([prompt._replace(ids=ids)], SamplingConfig(max_new_tokens=1), reuse_prefix=True)
    return time.perf_counter() - began


def _products(config: HiLightConfig, rows: int, mesh: jax.sharding.Mesh) -> dict[str, Callable[[], float]]:
    """A large square product and the two that reading a prompt spends its time in."""
    gemma, side = config.gemma, SQUARE.get(mesh.devices.flat[0].platform, 8192)
    shapes = [(side, side, side), (rows, gemma.width, gemma.mlp_dim), (rows, gemma.mlp_dim, gemma.width)]
    return {"x".join(map(str, shape)): matmul(shape, config.compute.dtypes["dtype"], mesh) for shape in shapes}


def _speeds(measures: dict[str, Callable[[], float]]) -> dict[str, float]:
    return {name: statistics.median(run() for _ in range(REPEATS)) for name, run in measures.items()}


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}


def _frames(config: HiLightConfig, num_frames: int, seed: int) -> np.ndarray:
    size = config.vision.image_size
    return np.random.default_rng(seed).integers(0, 256, (num_frames, size, size, 3), np.uint8)
