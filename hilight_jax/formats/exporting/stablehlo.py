"""Writes a model as programs that need none of this package: StableHLO for CPU, CUDA and TPU, and the weights.

Layers are written out with weights of their own, for a slice of stacked weights is copied at every token on some
devices.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from hilight_jax.core import __version__
from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.lazy import lazy
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import Tree, flatten, unflatten
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.formats.exporting.exported_model import ExportedChat, ExportedEncoder
from hilight_jax.formats.exporting.quantize import Quantized, quantize
from hilight_jax.formats.exporting.stablehlo_programs import chat_programs, compute_config, encoder_programs
from hilight_jax.formats.exporting.words_json import copy_code, write_words
from hilight_jax.formats.gemma_names import layer_table
from hilight_jax.formats.mapping import export_weights
from hilight_jax.formats.safetensors_files import write_shards

PLATFORMS = ("cpu", "cuda", "tpu")
_LOADER, _WORDS = (Path(__file__).with_name(f"stablehlo_{name}.py") for name in ("loader", "words"))


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
        "cache": {**sizes, "dtype": compute_config(flatten(model.params)).dtype},
        "prompt": "<bos><start_of_turn>user\n<video>\nQUESTION<end_of_turn>\n<start_of_turn>model\n",
        "tokens": "<bos>, <start_of_turn> and <end_of_turn> are single pieces of tokenizer.model (SentencePiece); the "
        "text before and after each <video> is encoded by itself, and video_rows times video_id stand in its place; "
        "two videos are written Image 1:<video>\nImage 2:<video>\n; an answer is followed by <end_of_turn>\n<eos>",
    }
