"""Times the answers of a chat model of a given size and compares them with the machine's own limits.

Reading a prompt is matrix products and is compared with a plain one; every further token needs all of the language
model's weights once and is compared with a plain read of the same weights.
"""

import statistics
import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from hilight_jax.benchmarks.machine import Limit, allocator, peak_memory, products, reads, seconds
from hilight_jax.benchmarks.random_models import random_params
from hilight_jax.core.errors import UserError
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.core.progress import Progress
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.frame_sampling import KeyFrameConfig, choose_key_frames
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.hilight import param_shapes
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.stages.chat_config import ChatTrainConfig

REPEATS = 3
# Rounds that are not counted: programs are compiled for an empty cache, then for one that shares the prompt's start.
WARM_UP = 2
# A question is asked, answered, and followed by a shorter one.
NEXT_QUESTION = 16


def measure(config: ChatTrainConfig, words: int, new_tokens: int, rounds: int) -> dict[str, Any]:
    """Times a model with random weights, on one device: a clip, a question about it, the answer, the next question.

    Nothing is trained or loaded: the config is read for sizes, frames and key frames. The prompt has ``words`` tokens
    beside those of the clip; ``rounds`` are counted after those of the warm-up.

    Returns:
      Seconds (of the clip, of the prompt, of one more token, of the prompt that goes on), tokens per second, the FLOPs
      and bytes per second that this makes, the limits measured beside them and the fractions of those, the peak memory
      (of the process on a CPU, of the device otherwise).

    Raises:
      UserError: The answer is too short to have a speed.
    """
    if new_tokens < 2:
        raise UserError(f"--new_tokens is {new_tokens}, but must be at least 2: the first one is the prompt's.")
    model, num_frames, num_key_frames = config.model, config.data.num_frames, config.data.key_frames.count
    prompt_length = model.num_video_tokens(num_key_frames) + words
    length = prompt_length + new_tokens + NEXT_QUESTION + 1
    generator = Generator(model, random_params(model), _Characters(), length)
    weights = jax.tree.leaves(generator.language_model.variables)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    dtype = model.compute.dtypes["dtype"]
    matmul = Limit(products(prompt_length, model.gemma.width, model.gemma.mlp_dim, dtype, mesh), REPEATS)
    read = Limit(reads(weights), REPEATS)
    spent: list[dict[str, float]] = []
    progress = Progress(WARM_UP + rounds, "benchmark", unit="rounds")
    for i in range(WARM_UP + rounds):
        if i == WARM_UP:
            matmul.rounds, read.rounds, spent = [], [], []
        matmul.measure()
        spent.append(_converse(generator, _frames(model, num_frames, i), num_key_frames, words, new_tokens))
        read.measure()
        progress.update()
    progress.close()

    took = {name: statistics.median(times[name] for times in spent) for name in spent[0]}
    size, flops = sum(x.nbytes for x in weights), prompt_flops(model.gemma, prompt_length)
    return {
        "time_to_first_token_seconds": took["clip"] + took["prompt"],
        "tokens_per_second": 1 / took["token"],
        "next_prompt_seconds": took["next_prompt"],
        "clip_seconds": took["clip"],
        "prompt_seconds": took["prompt"],
        "token_seconds": took["token"],
        "prompt_flops_per_second": flops / took["prompt"],
        "matmul_peak_flops_per_second": matmul.speed(),
        "prompt_fraction_of_matmul": flops / took["prompt"] / matmul.speed(),
        "token_bytes_per_second": size / took["token"],
        "read_peak_bytes_per_second": read.speed(),
        "token_fraction_of_read": size / took["token"] / read.speed(),
        "matmul_flops_per_second": matmul.speeds(),
        "read_bytes_per_second": read.speeds(),
        "peak_memory_bytes": peak_memory(mesh.devices.flat),
        "weights_bytes": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(param_shapes(model))),
        "language_model_bytes": size,
        "prompt_tokens": prompt_length,
        "video_tokens": prompt_length - words,
        "new_tokens": new_tokens,
        "rounds": rounds,
        "dtype": dtype.name,
        "platform": mesh.devices.flat[0].platform,
        "allocator": allocator(),
    }


def prompt_flops(config: GemmaConfig, length: int) -> float:
    """Multiplications and additions that reading a prompt needs, without padding and what the causal mask hides."""
    inner, kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    layer = config.width * (2 * inner + 2 * kv + 3 * config.mlp_dim)
    attention = 2 * inner * length * (length + 1) / 2
    return 2.0 * (config.depth * (length * layer + attention) + config.width * config.vocab_size)


class _Characters:
    """A tokenizer of one character per id, so that every token is shown when it comes; none ends an answer."""

    vocab_size = 1
    stop_ids = ()

    def decode(self, ids: Iterable[int]) -> str:
        return "x" * len(list(ids))


def _converse(
    generator: Generator, frames: np.ndarray, num_key_frames: int, words: int, new_tokens: int
) -> dict[str, float]:
    """Encodes a clip, asks two questions about it, and returns the seconds of each part."""
    began = time.perf_counter()
    clip = generator.encode_clip(frames, choose_key_frames(KeyFrameConfig(count=num_key_frames), frames))
    encoded = time.perf_counter()
    ids = np.concatenate([[2], np.full(len(clip.tokens), VIDEO_ID), np.arange(3, words + 2)])
    ids = np.where(ids > 0, ids % generator.config.gemma.vocab_size, ids).astype(np.int32)
    prompt = Prompt(ids, (clip,))
    times, sampling = [], SamplingConfig(max_new_tokens=new_tokens)

    def note_time(row: int, text: str) -> None:
        times.append(time.perf_counter())

    (answer,) = generator.generate([prompt], sampling, note_time, reuse_prefix=True)
    ids = np.concatenate([ids, answer.ids, np.arange(3, 3 + NEXT_QUESTION)]).astype(np.int32)
    prompts, sampling = [prompt._replace(ids=ids)], SamplingConfig(max_new_tokens=1)
    return {
        "clip": encoded - began,
        "prompt": times[0] - encoded,
        "token": statistics.median(np.diff(times).tolist()),
        "next_prompt": seconds(lambda: generator.generate(prompts, sampling, reuse_prefix=True)),
    }


def _frames(config: HiLightConfig, num_frames: int, seed: int) -> np.ndarray:
    size = config.vision.image_size
    return np.random.default_rng(seed).integers(0, 256, (num_frames, size, size, 3), np.uint8)
