"""Reference outputs of an export: a fixed clip, and the arrays that the trained model computes from it.

The file ``fingerprint.safetensors`` lies in every exported directory. Anybody who loads the export can run it on the
clip and compare, without this package; ``export --verify`` does.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Turn
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.frame_sampling import choose_key_frames
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.formats.exporting.exported_model import ExportedChat, ExportedEncoder
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.losses.local import LocalLossConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.stages.encoder_config import EncoderTrainConfig, LossConfig
from hilight_jax.stages.trained_encoder import TrainedEncoder
from hilight_jax.training.optimizer import OptimizerConfig

FILE = "fingerprint.safetensors"
_ANSWER_LENGTH = 32
_QUESTION = "What is hit first?"
# Of a model with word tracks: its words carry something.
_NAMING_QUESTION = "Does the cue ball hit the red ball, or is a white disc hit first?"
_CAPTION = "the cue ball hits the red ball"


def read_reference_outputs(directory: Path) -> dict[str, np.ndarray]:
    """Reads the file of an exported directory.

    Raises:
      CheckpointError: There is none, or it is damaged.
    """
    if not (directory / FILE).is_file():
        raise CheckpointError(
            f"'{directory}' has no {FILE} to verify against: it was exported with --no_fingerprint, or is no export."
        )
    try:
        return load_file(directory / FILE)
    except SafetensorError as error:
        raise CheckpointError(f"'{directory / FILE}' is damaged ({error}); export the model again.") from error


def compute_reference_outputs(model: ExportedChat | ExportedEncoder) -> dict[str, np.ndarray]:
    """Runs the model on the fixed clip in float32; it must fit into memory.

    Returns:
      Inputs and outputs by name. Of a chat model: ``frames`` uint8 [F, Y, X, C], ``key_frames`` int32 [keys], ``ids``
      int32 [L] (expanded, ``VIDEO_ID`` at rows of the clip); ``video_tokens`` [V, D], ``logits`` [vocab] of the next
      token, ``answer_ids`` int32 [32], the greedy continuation, which no token ends. Of an encoder: ``frames``,
      ``text_ids`` int32 [L], ``text_mask`` bool [L]; ``video_embeds`` and ``text_embeds`` [E].
    """
    params = jax.tree.map(lambda x: np.asarray(x, np.float32), model.params, is_leaf=lambda x: isinstance(x, LazyArray))
    return (_of_encoder if isinstance(model, ExportedEncoder) else _of_chat)(model, params)


def _of_chat(model: ExportedChat, params: Tree) -> dict[str, np.ndarray]:
    data, config = model.data, dataclasses.replace(model.config, compute=ComputeConfig())
    frames = fixed_clip(data.num_frames, data.image_size)
    tokenizer = GemmaTokenizer(model.tokenizer)
    question = _QUESTION if data.things is None else _NAMING_QUESTION
    ids = prompt_ids([Turn("user", f"{VIDEO_MARK}\n{question}")], tokenizer)
    ids = expand(ids, None, data.num_video_tokens)[0]
    generator = Generator(config, params, tokenizer, len(ids) + _ANSWER_LENGTH, things=data.things)
    keys = np.asarray(choose_key_frames(data.key_frames, frames), np.int32)
    clip = generator.encode_clip(frames, keys)
    prompt = Prompt(ids, (clip,))
    (answer,) = generator.generate([prompt], SamplingConfig(max_new_tokens=_ANSWER_LENGTH, stop_ids=()))
    return {
        "frames": frames,
        "key_frames": keys,
        "ids": ids.astype(np.int32),
        "video_tokens": clip.tokens.astype(np.float32),
        "logits": generator.next_logits([prompt])[0].astype(np.float32),
        "answer_ids": answer.ids.astype(np.int32),
    }


def _of_encoder(model: ExportedEncoder, params: Tree) -> dict[str, np.ndarray]:
    frames = fixed_clip(model.data.num_frames, model.data.image_size)
    contrast = "within_clip" if model.config.local.levels else "none"
    config = EncoderTrainConfig(
        name="encoder",
        preset="export",
        steps=1,
        batch_size=1,
        optimizer=OptimizerConfig(),
        model=dataclasses.replace(model.config, compute=ComputeConfig()),
        loss=LossConfig(local=LocalLossConfig(contrast=contrast)),
        data=model.data,
    )
    encoder = TrainedEncoder(config, params)
    tokens = ClipTokenizer(model.data.text_length)(_CAPTION)
    return {
        "frames": frames,
        "text_ids": tokens.ids.astype(np.int32),
        "text_mask": tokens.mask,
        "video_embeds": encoder.encode_video(frames[None])["video_embeds"][0],
        "text_embeds": encoder.encode_text(tokens.ids[None], tokens.mask[None])["text_embeds"][0],
    }


def fixed_clip(num_frames: int, size: int) -> np.ndarray:
    """Draws the fixed clip, uint8 [F, size, size, 3]: coloured discs that move over a shaded cloth."""
    place = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(place, place, indexing="ij")
    cloth = np.stack([30 + 20 * x, 110 + 60 * y, 60 + 30 * (x + y)], axis=-1)
    discs = (((0.2, 0.3), (0.5, 0.2), (230, 40, 40)), ((0.8, 0.7), (-0.4, -0.3), (240, 240, 235)))
    clip = np.empty((num_frames, size, size, 3), np.uint8)
    for frame in range(num_frames):
        time, picture = frame / max(num_frames - 1, 1), cloth.copy()
        for (x0, y0), (dx, dy), colour in discs:
            inside = (x - x0 - dx * time) ** 2 + (y - y0 - dy * time) ** 2 < 0.01
            picture[inside] = colour
        clip[frame] = np.round(picture)
    return clip
