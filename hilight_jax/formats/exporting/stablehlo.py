"""Writes a model as programs that need none of this package: StableHLO for CPU, CUDA and TPU, and the weights.

Programs take the weights as their first argument, a dict of arrays by name. Batch and lengths are free. Layers are
written out with weights of their own, for a slice of stacked weights is copied at every token on some devices.

Of a chat model: ``encode_video(weights, frames, key_frames)``; ``prefill(weights, ids, video_tokens, mask, positions,
cache)`` and ``decode(weights, ids, positions, cache)``, both with scores of the next token and the cache, a dict of
``k``, ``v`` [depth, B, S, K, H], ``mask`` [B, S] and ``length``. With word tracks there is ``word_vectors(weights,
patch_features, phrase_ids, content)``, what words carry of the clips of a conversation, and ``prefill`` takes a last
argument ``carried``. Of an encoder: ``encode_video(weights, frames)`` and
``encode_text(weights, ids, mask)``. jax does not export the donation of arguments; callers donate the cache, as the
loader does.
"""

import dataclasses
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.core import __version__
from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.lazy import lazy
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import Tree, flatten, unflatten
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.words import PHRASE_LENGTH, encode_things
from hilight_jax.formats.exporting.exported_model import ExportedChat, ExportedEncoder
from hilight_jax.formats.exporting.quantize import Quantized, quantize
from hilight_jax.formats.exporting.words_json import copy_code, write_words
from hilight_jax.formats.gemma_names import layer_table
from hilight_jax.formats.mapping import export_weights
from hilight_jax.formats.safetensors_files import write_shards
from hilight_jax.models import hilight
from hilight_jax.models.clip import normalise
from hilight_jax.models.gemma_decoding import Cache
from hilight_jax.models.hilight import HiLight
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.video_text import DualEncoder

PLATFORMS = ("cpu", "cuda", "tpu")
# The weights that each program of a chat model reads; rows of things are made of the embeddings of their names.
_WORD_PARTS = ("text/", "local/", "word_tracks/")
_CHAT_TOWERS = ("vision/", "frames/", "visual_projection/", "token_mining/")
_LOADER, _WORDS = (Path(__file__).with_name(f"stablehlo_{name}.py") for name in ("loader", "words"))
Program = tuple[Callable[..., Any], tuple[Any, ...]]


def write_stablehlo(
    model: ExportedChat | ExportedEncoder, directory: Path, quantized: bool = False
) -> dict[str, float]:
    """Writes ``<program>.stablehlo`` files, ``weights*.safetensors``, ``manifest.json`` and the loader ``load.py``.

    ``quantized`` puts the language model's linear maps in 8 bits; the programs widen them as they read them.

    Returns:
      The measured error of 8 bits, empty without.
    """
    chat = isinstance(model, ExportedChat)
    params = unstack(model.params) if chat else model.params
    packed = quantize(params) if chat and quantized else Quantized(params, {})
    flat = flatten(packed.params)
    # All layers of one stacked array follow each other, so it is read once and then freed.
    weights = {name: lazy(flat[name]) for name in sorted(flat, key=lambda name: re.sub(r"layers_\d+", "layers", name))}
    programs = chat_programs(model, weights) if chat else encoder_programs(model, weights)
    for name, (function, arguments) in programs.items():
        exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
        (directory / f"{name}.stablehlo").write_bytes(exported.serialize())
    write_shards(directory, weights, "weights")
    shutil.copyfile(_LOADER, directory / "load.py")
    reads = {name: sorted(arguments[0]) for name, (_, arguments) in programs.items()}
    write_object(directory / "manifest.json", _manifest(model, reads))
    if isinstance(model, ExportedChat):
        shutil.copyfile(model.tokenizer, directory / "tokenizer.model")
        if model.data.things is not None:
            shutil.copyfile(_WORDS, directory / "words.py")
            copy_code(directory)
            write_words(directory, model.data.things, GemmaTokenizer(model.tokenizer), VIDEO_ID)
    return packed.errors()


def unstack(params: Tree) -> dict[str, Any]:
    """A chat model's tree with a tree for each layer of the language model, ``gemma/layers_0`` and so on."""
    return unflatten(export_weights(layer_table(params), params))


def chat_programs(model: ExportedChat, weights: Mapping[str, Any]) -> dict[str, Program]:
    """The programs of a chat model: functions, and the shapes of their arguments."""
    compute = _compute(weights)
    config = dataclasses.replace(model.config, compute=compute, lora=None)
    towers, language = HiLight(config), HiLight(config, stacked=False)
    dtype, gemma, data = compute.dtypes["dtype"], config.gemma, model.data
    things = None if data.things is None else encode_things(data.things, GemmaTokenizer(model.tokenizer))

    def encode_video(weights, frames, key_frames):
        variables = hilight.variables(_widened(weights))
        seen: dict[str, Any] = towers.apply(variables, normalise(frames, dtype), key_frames, method="encode_video")
        patches = seen.pop("patch_features", None)
        mined: jax.Array = towers.apply(variables, **seen, method="mine")["tokens"]
        if things is None:
            return {"video_tokens": mined.astype(jnp.float32)}
        found = track(variables, patches, things.phrase_ids, things.content)
        given = (things.ids[None], found["tracks"][:, None], found["features"][:, None])
        rows: jax.Array = towers.apply(variables, *given, method="thing_rows")
        tokens = jnp.concatenate([mined.astype(jnp.float32), rows[:, 0].astype(jnp.float32)], axis=1)
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
    compute = _compute(weights)
    encoder = DualEncoder(dataclasses.replace(model.config, compute=compute))
    (b,) = jax.export.symbolic_shape("b")

    def kept(out: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in out.items() if name.endswith(("_embeds", "_local"))}

    def encode_video(weights, frames):
        pixels = normalise(frames, compute.dtypes["dtype"])
        return kept(encoder.apply({"params": unflatten(weights)}, pixels, method="encode_video"))

    def encode_text(weights, ids, mask):
        return kept(encoder.apply({"params": unflatten(weights)}, ids, mask, method="encode_text"))

    data, side = model.data, model.data.image_size
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in weights.items()}
    frames = jax.ShapeDtypeStruct((b, data.num_frames, side, side, 3), jnp.uint8)
    ids = jax.ShapeDtypeStruct((b, data.text_length), jnp.int32)
    mask = jax.ShapeDtypeStruct((b, data.text_length), jnp.bool_)
    return {"encode_video": (encode_video, (shapes, frames)), "encode_text": (encode_text, (shapes, ids, mask))}


def _compute(weights: Mapping[str, Any]) -> ComputeConfig:
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


def _manifest(model: ExportedChat | ExportedEncoder, reads: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest: the settings that a loader needs."""
    data = model.data
    known: dict[str, Any] = {
        "made_by": f"hilight_jax {__version__}",
        "platforms": list(PLATFORMS),
        "programs": reads,
        "num_frames": data.num_frames,
        "image_size": data.image_size,
        "frames": "uint8 [B, num_frames, image_size, image_size, 3], red first: frames spread evenly over the video "
        "(number floor((n - 1) i / (num_frames - 1)) of n), each resized to the square by antialiased bicubic",
    }
    if isinstance(model, ExportedEncoder):
        return known | {
            "text_length": model.data.text_length,
            "text": "CLIP's BPE ids, padded; mask is true for real tokens",
        }
    tokenizer, gemma, data = GemmaTokenizer(model.tokenizer), model.config.gemma, model.data
    sizes = {"depth": gemma.depth, "num_kv_heads": gemma.num_kv_heads, "head_dim": gemma.head_dim}
    if model.config.word_tracks is not None:
        known |= {
            "max_clips": model.config.word_tracks.max_clips,
            "carried": "float32 [B, L, width], added to the embeddings: words.py finds phrases that name something in "
            "the ids (words.json), word_vectors gives each a vector for each clip of a conversation, and the phrase's "
            "words carry the sum over the clips that stand before them",
        }
    return known | {
        "num_key_frames": data.key_frames.count,
        "key_frame_rule": data.key_frames.rule,
        "key_frames": "int32 [B, num_key_frames], numbers among the clip's frames; by the rule uniform "
        "floor((num_frames - 1) i / (num_key_frames - 1))",
        "video_id": VIDEO_ID,
        "video_rows": data.num_video_tokens,
        "width": gemma.width,
        "max_length": data.max_length,
        "stop_ids": list(tokenizer.stop_ids),
        "cache": {**sizes, "dtype": _compute(flatten(model.params)).dtype},
        "prompt": "<bos><start_of_turn>user\n<video>\nQUESTION<end_of_turn>\n<start_of_turn>model\n",
        "tokens": "<bos>, <start_of_turn> and <end_of_turn> are single pieces of tokenizer.model (SentencePiece); the "
        "text before and after each <video> is encoded by itself, and video_rows times video_id stand in its place; "
        "two videos are written Image 1:<video>\nImage 2:<video>\n; an answer is followed by <end_of_turn>\n<eos>",
    }
