"""What a model says about the fixed clip: the fingerprint that goes with every export of it."""

import dataclasses

import jax
import numpy as np

from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Turn
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.key_frames import choose_key_frames
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.formats.exporting.exportable import ExportedChat, ExportedEncoder
from hilight_jax.formats.exporting.reference_outputs import ANSWER_LENGTH, QUESTION, Fingerprint, fixed_clip
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.losses.local import LocalLossConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.stages.encoder_config import EncoderTrainConfig, LossConfig
from hilight_jax.stages.trained_encoder import TrainedEncoder
from hilight_jax.training.optimizer import OptimizerConfig

_PLAIN = ComputeConfig()
_CAPTION = "the cue ball hits the red ball"


def measure(model: ExportedChat | ExportedEncoder) -> Fingerprint:
    """Runs the model on the fixed clip; it must fit into memory."""
    params = jax.tree.map(lambda x: np.asarray(x).astype(np.float32), model.params, is_leaf=_is_lazy)
    if isinstance(model, ExportedEncoder):
        return _measure_encoder(model, params)
    data, config = model.data, dataclasses.replace(model.config, compute=_PLAIN)
    frames = fixed_clip(data.num_frames, data.image_size)
    tokenizer = GemmaTokenizer(model.tokenizer)
    ids = prompt_ids([Turn("user", f"{VIDEO_MARK}\n{QUESTION}")], tokenizer)
    ids = expand(ids, None, data.num_video_tokens)[0]
    generator = Generator(config, params, tokenizer, len(ids) + ANSWER_LENGTH)
    keys = np.asarray(choose_key_frames(data.key_frames, frames), np.int32)
    clip = generator.encode_clip(frames, keys)
    prompt = Prompt(ids, (clip,))
    return Fingerprint(
        {
            "frames": frames,
            "key_frames": keys,
            "ids": ids.astype(np.int32),
            "video_tokens": clip.tokens.astype(np.float32),
            "logits": generator.next_logits([prompt])[0].astype(np.float32),
            "answer_ids": _greedy(generator, prompt),
        }
    )


def _measure_encoder(model: ExportedEncoder, params: Tree) -> Fingerprint:
    frames = fixed_clip(model.data.num_frames, model.data.image_size)
    run = EncoderTrainConfig(
        name="encoder",
        preset="export",
        steps=1,
        batch_size=1,
        optimizer=OptimizerConfig(),
        model=dataclasses.replace(model.config, compute=_PLAIN),
        loss=_loss(model),
        data=model.data,
    )
    encoder = TrainedEncoder(run, params)
    tokens = ClipTokenizer(model.data.text_length)(_CAPTION)
    return Fingerprint(
        {
            "frames": frames,
            "text_ids": tokens.ids.astype(np.int32),
            "text_mask": tokens.mask,
            "video_embeds": encoder.encode_video(frames[None])["video_embeds"][0],
            "text_embeds": encoder.encode_text(tokens.ids[None], tokens.mask[None])["text_embeds"][0],
        }
    )


def _loss(model: ExportedEncoder) -> LossConfig:
    contrast = "within_clip" if model.config.local.levels else "none"
    return LossConfig(local=LocalLossConfig(contrast=contrast))


def _greedy(generator: Generator, prompt: Prompt) -> np.ndarray:
    # All tokens are wanted, whatever they are.
    (answer,) = generator.generate([prompt], SamplingConfig(max_new_tokens=ANSWER_LENGTH, stop_ids=()))
    return answer.ids.astype(np.int32)


def _is_lazy(x: object) -> bool:
    return isinstance(x, LazyArray)
