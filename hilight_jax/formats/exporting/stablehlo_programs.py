"""The functions that ``stablehlo`` exports, and the shapes of their arguments.

Programs take the weights as their first argument, a dict of arrays by name. Batch and lengths are free.

Of a chat model: ``encode_video(weights, frames, key_frames)``; ``prefill(weights, ids, video_tokens, mask, positions,
cache)`` and ``decode(weights, ids, positions, cache)``, both with scores of the next token and the cache, a dict of
``k``, ``v`` [depth, B, S, K, H], ``mask`` [B, S] and ``length``. With word tracks ``encode_video`` gives
``patch_features`` as well, ``word_vectors(weights, patch_features, phrase_ids, content)`` the vectors that words carry
of the clips of one conversation, and ``prefill`` takes a last argument ``carried``. Of an encoder:
``encode_video(weights, frames)`` and ``encode_text(weights, ids, mask)``. jax does not export the donation of
arguments; callers donate the cache, as the loader does.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from hilight_jax.core.trees import unflatten
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.words import PHRASE_LENGTH, encode_things
from hilight_jax.formats.exporting.exported_model import ExportedChat, ExportedEncoder
from hilight_jax.models import hilight
from hilight_jax.models.clip import normalise
from hilight_jax.models.gemma_decoding import Cache
from hilight_jax.models.hilight import HiLight
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.video_text import DualEncoder

# The weights that each program of a chat model reads; rows of things are made of the embeddings of their names.
_WORD_PARTS = ("text/", "local/", "word_tracks/")
_CHAT_TOWERS = ("vision/", "frames/", "visual_projection/", "token_mining/")
Program = tuple[Callable[..., Any], tuple[Any, ...]]


def chat_programs(model: ExportedChat, weights: Mapping[str, Any]) -> dict[str, Program]:
    """The programs of a chat model: functions, and the shapes of their arguments."""
    compute = compute_config(weights)
    config = dataclasses.replace(model.config, compute=compute, lora=None)
    towers, language = HiLight(config), HiLight(config, stacked=False)
    dtype, gemma, data = compute.dtypes["dtype"], config.gemma, model.data
    things = None if data.things is None else encode_things(data.things, GemmaTokenizer(model.tokenizer))

    def encode_video(weights, frames, key_frames):
        variables = hilight.variables(_widened(weights))
        seen: dict[str, Any] = towers.apply(variables, normalise(frames), key_frames, method="encode_video")
        patches = seen.pop("patch_features", None)
        made: dict[str, Any] = towers.apply(variables, **seen, method="mine")
        mined = made["tokens"].astype(jnp.float32)
        if things is None:
            return {"video_tokens": mined}
        found = track(variables, patches, things.phrase_ids, things.content)
        given = (things.ids[None], found["tracks"][:, None], found["features"][:, None])
        rows: jax.Array = towers.apply(variables, *given, method="thing_rows")
        tokens = jnp.concatenate([mined, rows[:, 0].astype(jnp.float32)], axis=1)
        return {"video_tokens": tokens, "patch_features": patches}

    def word_vectors(weights, patches, phrase_ids, content):
        variables = hilight.variables(unflatten(weights))
        tracks = track(variables, patches, phrase_ids, content)["tracks"]
        vectors: jax.Array = towers.apply(variables, tracks[None], method="word_vectors")
        return vectors[0].astype(jnp.float32)

    def track(variables, patches, phrase_ids, content) -> dict[str, Any]:
        vectors: jax.Array = towers.apply(variables, phrase_ids, phrase_ids > 0, content, method="encode_phrases")
        repeated = jnp.broadcast_to(vectors, (patches.shape[0], *vectors.shape))
        return towers.apply({}, patches, repeated, method="track")

    def prefill(weights, ids, video_tokens, mask, positions, cache, carried=None):
        variables = hilight.variables(_widened(weights))
        embeds = language.apply(variables, ids, video_tokens, carried, method="embed")
        out: dict[str, Any] = language.apply(variables, embeds, positions, mask, Cache(**cache), method="language")
        logits: jax.Array = language.apply(variables, out["tokens"][:, -1:], method="logits")
        return {"logits": logits[:, 0], "cache": vars(out["cache"])}

    def decode(weights, ids, positions, cache):
        nothing = jnp.zeros((ids.shape[0], 1, gemma.width), jnp.float32)
        shown = jnp.ones((ids.shape[0], 1), bool)
        return prefill(weights, ids[:, None], nothing, shown, positions[:, None], cache)

    def of(*shape, kind):
        return jax.ShapeDtypeStruct(shape, kind)

    def cache(b, slots):
        entries = of(gemma.depth, b, slots, gemma.num_kv_heads, gemma.head_dim, kind=dtype)
        return {"k": entries, "v": entries, "mask": of(b, slots, kind=bool), "length": of(kind=jnp.int32)}

    def clips(b):
        frames = of(b, data.num_frames, data.image_size, data.image_size, 3, kind=jnp.uint8)
        return frames, of(b, data.key_frames.count, kind=jnp.int32)

    def run(b, length, slots, rows):
        ids, tokens = of(b, length, kind=jnp.int32), of(b, rows, gemma.width, kind=jnp.float32)
        carried = () if things is None else (of(b, length, gemma.width, kind=jnp.float32),)
        return ids, tokens, of(b, length, kind=bool), ids, cache(b, slots), *carried

    def step(b, slots):
        return of(b, kind=jnp.int32), of(b, kind=jnp.int32), cache(b, slots)

    def words(u, w):
        side = config.vision.image_size // config.vision.patch_size
        width = config.word_tracks.embed_dim * sum(map(bool, config.map_weights))
        phrase_ids, content = (of(w, PHRASE_LENGTH, kind=kind) for kind in (jnp.int32, bool))
        return of(u, data.num_frames, side**2, width, kind=jnp.float32), phrase_ids, content

    def read(*parts):
        return {name: of(*x.shape, kind=x.dtype) for name, x in weights.items() if name.startswith(parts)}

    free = jax.export.symbolic_shape  # Each program has sizes of its own.
    named = () if things is None else (*_WORD_PARTS, "gemma/embedder/")
    programs: dict[str, Program] = {
        "encode_video": (encode_video, (read(*_CHAT_TOWERS, *named), *clips(*free("b")))),
        "prefill": (prefill, (read("gemma/"), *run(*free("b, l, s, r", constraints=["l <= s"])))),
        "decode": (decode, (read("gemma/"), *step(*free("b, s")))),
    }
    if config.word_tracks is not None:
        sizes = free("u, w", constraints=[f"u <= {config.word_tracks.max_clips}"])
        programs["word_vectors"] = (word_vectors, (read(*_WORD_PARTS), *words(*sizes)))
    return programs


def encoder_programs(model: ExportedEncoder, weights: Mapping[str, Any]) -> dict[str, Program]:
    """The programs of an encoder."""
    compute = compute_config(weights)
    encoder = DualEncoder(dataclasses.replace(model.config, compute=compute))
    (b,) = jax.export.symbolic_shape("b")

    def kept(out: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in out.items() if name.endswith(("_embeds", "_local"))}

    def encode_video(weights, frames):
        return kept(encoder.apply({"params": unflatten(weights)}, normalise(frames), method="encode_video"))

    def encode_text(weights, ids, mask):
        return kept(encoder.apply({"params": unflatten(weights)}, ids, mask, method="encode_text"))

    data, side = model.data, model.data.image_size
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in weights.items()}
    frames = jax.ShapeDtypeStruct((b, data.num_frames, side, side, 3), jnp.uint8)
    ids = jax.ShapeDtypeStruct((b, data.text_length), jnp.int32)
    mask = jax.ShapeDtypeStruct((b, data.text_length), jnp.bool_)
    return {"encode_video": (encode_video, (shapes, frames)), "encode_text": (encode_text, (shapes, ids, mask))}


def compute_config(weights: Mapping[str, Any]) -> ComputeConfig:
    """Computes in bfloat16 where weights are bfloat16, else in float32."""
    kinds = {np.dtype(x.dtype).name for x in weights.values()}
    return ComputeConfig(dtype="bfloat16" if "bfloat16" in kinds else "float32", attention="plain")


def _widened(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a flat dict of weights, 8 bits multiplied out."""
    flat = {}
    for name, x in weights.items():
        if name.endswith("/int8"):
            path = name.removesuffix("/int8")
            flat[path] = x.astype(jnp.float32) * weights[f"{path}/scale"]
        elif f"{name.removesuffix('/scale')}/int8" not in weights:
            flat[name] = x
    return unflatten(flat)
