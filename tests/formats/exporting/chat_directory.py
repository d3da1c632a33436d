"""Tiny chat models written for transformers, and loaded from there."""

import dataclasses
import pathlib

import jax
import numpy as np

from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.frame_sampling import KeyFrameConfig
from hilight_jax.formats.exporting.exported_model import ExportedChat
from hilight_jax.formats.exporting.huggingface import write_huggingface
from hilight_jax.models.hilight import HiLight, variables
from tests.data.conversations.tiny_gemma import PATH
from tests.models import tiny_hilight

GEMMA = dataclasses.replace(tiny_hilight.GEMMA, vocab_size=648)
DATA = ConversationDataConfig(
    num_frames=3,
    image_size=8,
    key_frames=KeyFrameConfig(count=tiny_hilight.KEY_FRAMES),
    num_video_tokens=tiny_hilight.VIDEO_TOKENS,
    max_length=256,
    max_videos=2,
)
VIDEO_TOKEN = GEMMA.vocab_size
# Of a model with word tracks.
THINGS = ("the red ball", "the cue ball")
TRACKED_DATA = dataclasses.replace(DATA, num_video_tokens=tiny_hilight.VIDEO_TOKENS + len(THINGS), things=THINGS)


def exported(seed=0, dtype=np.float32, extra=None, data=DATA, **changes) -> ExportedChat:
    """A model with drawn parameters; ``changes`` are fields of its config."""
    config = tiny_hilight.config(**{"gemma": GEMMA} | changes)
    params = jax.tree.map(lambda x: np.asarray(x).astype(dtype), tiny_hilight.params(config, seed))
    return ExportedChat(config, params, data, pathlib.Path(PATH), extra or {})


def tracked(**changes) -> ExportedChat:
    """A model with word tracks; ``changes`` as in ``exported``."""
    parts = {name: getattr(tiny_hilight.TRACKED, name) for name in ("text", "local", "word_tracks")}
    return exported(**{"data": TRACKED_DATA} | parts | changes)


def write(model: ExportedChat, directory: pathlib.Path, **options) -> pathlib.Path:
    """Writes all but its adapter."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = {name: tree for name, tree in model.params.items() if name != "lora"}
    write_huggingface(dataclasses.replace(model, params=parts), directory, **options)
    return directory


def load(directory: pathlib.Path, **options):
    """The torch model; fails where a weight is missing or left over."""
    import transformers

    options = {"trust_remote_code": True, "output_loading_info": True} | options
    model, report = transformers.AutoModelForCausalLM.from_pretrained(directory, **options)
    assert not any(report.values()), report
    return model.eval()


def logits(model: ExportedChat, ids, mask, video, key_frames) -> np.ndarray:
    """Of the JAX model; ``ids`` with ``VIDEO_TOKEN``, ``video`` [B, U, F, Y, X, C]."""
    ids = np.where(ids == VIDEO_TOKEN, -200, ids)
    run = HiLight(model.config).apply
    return np.asarray(run(variables(model.params), ids, mask, video, key_frames, method="from_pixels"))


def to_torch(video, key_frames, counts):
    """The clips that are there, as the torch model takes them: ``counts`` of each sample."""
    import torch

    pixels = np.concatenate([video[i, :count] for i, count in enumerate(counts)])
    chosen = np.concatenate([key_frames[i, :count] for i, count in enumerate(counts)])
    pixels = torch.from_numpy(np.moveaxis(pixels, -1, 2).copy())
    return {"pixel_values_videos": pixels, "key_frames": torch.from_numpy(chosen.astype(np.int64))}
