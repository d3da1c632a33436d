"""Working directories of an encoder and of a chat model built on it, random and tiny, and a video to show them."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hilight_jax.billiards.encoding import encode_video
from hilight_jax.models.hilight import param_shapes
from hilight_jax.models.video_text import DualEncoder
from hilight_jax.runs.provenance import Origin, fingerprint, write_provenance
from hilight_jax.stages.trained_encoder import load_encoder
from tests.stages.runs import chat_overrides, write_run
from tests.stages.tiny import tiny_config
from tests.stages.tiny_chat import tiny_chat_config

TOKENIZER = Path(__file__).parents[1] / "goldens" / "tiny_gemma_tokenizer.model"
VOCAB_SIZE = 640


def make_encoder(workdir: Path) -> Path:
    """A run of the encoder with one checkpoint."""
    config = tiny_config()
    video, ids = np.zeros((1, 4, 64, 64, 3), np.float32), np.zeros((1, 2), np.int32)
    shapes = jax.eval_shape(DualEncoder(config.model).init, jax.random.key(0), video, ids)["params"]
    write_run(workdir, config, _draw(shapes, seed=0))
    return workdir


def make_chat_model(workdir: Path, encoder: Path) -> Path:
    """A run of ``align`` whose video tower is the one of ``encoder``, by reference, as stages save it."""
    config = tiny_chat_config(
        "align",
        "demo,frames=long_clip",
        *chat_overrides(encoder, encoder),
        f"--config.model.gemma.vocab_size={VOCAB_SIZE}",
    )
    params = _draw(param_shapes(config.model), seed=1)
    del params["vision"]
    write_run(workdir, config, params)
    vision = load_encoder(encoder).params["vision"]
    write_provenance(workdir, {"vision": Origin(str(encoder), 1, fingerprint(vision))})
    shutil.copy(TOKENIZER, workdir / "tokenizer.model")
    return workdir


def write_video(path: Path, seed: int = 0, num_frames: int = 6) -> Path:
    """A video of coloured squares, wider than high."""
    blocks = np.random.default_rng(seed).integers(0, 256, (num_frames, 5, 8, 3), dtype=np.uint8)
    path.write_bytes(encode_video(blocks.repeat(16, 1).repeat(16, 2), fps=5, watchable=True))
    return path


def _draw(shapes: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: 0.3 * rng.standard_normal(leaf.shape).astype(np.float32), shapes)
