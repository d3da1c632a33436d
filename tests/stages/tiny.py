"""The demo's configuration shrunk to seconds, and batches with ragged captions for it."""

import numpy as np

from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.load_config import load_config

SMALL = (
    "--config.model.vision.width=16",
    "--config.model.vision.depth=2",
    "--config.model.vision.num_heads=2",
    "--config.model.vision.mlp_dim=32",
    "--config.model.vision.patch_size=16",
    "--config.model.text.width=16",
    "--config.model.text.depth=2",
    "--config.model.text.num_heads=2",
    "--config.model.text.mlp_dim=32",
    "--config.model.embed_dim=16",
    "--config.model.compute.unroll=false",
    "--config.batch_size=16",
    "--config.eval_batch_size=8",
    "--config.loss.local.group_size=2",
    "--config.optimizer.warmup_fraction=0.0",
    "--config.data.validation=tfds:{data_dir}/demo-v2/1.0.0/validation",
)


def tiny_config(argument: str = "demo", *overrides: str, data_dir: str = "data") -> EncoderTrainConfig:
    """The demo (or one of its settings) with small towers."""
    return load_config(f"configs/encoder.py:{argument}", (*SMALL, *overrides), data_dir)


def ragged_batch(config: EncoderTrainConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Random clips and captions of 3 to L tokens; one caption has no content word at all, one has a single one."""
    rng = np.random.default_rng(seed)
    size, length, vocab_size = config.batch_size, config.data.text_length, config.model.text.vocab_size
    side, frames = config.data.image_size, config.data.num_frames
    lengths = rng.integers(3, length + 1, size)
    position = np.arange(length)[None]

    def caption() -> tuple[np.ndarray, np.ndarray]:
        ids = rng.integers(1, vocab_size - 2, (size, length))
        ids[:, 0] = vocab_size - 2
        ids = np.where(position == lengths[:, None] - 1, vocab_size - 1, ids) * (position < lengths[:, None])
        return ids.astype(np.int32), ids > 0

    ids, mask = caption()
    local_mask = mask & (rng.random(mask.shape) < 0.4)
    local_mask[1] = False
    local_mask[2] = position[0] == 1
    caption_ids, caption_mask = caption()
    swaps = [caption()[0] for _ in range(config.data.swaps)]
    more = {"swap_ids": np.stack(swaps, axis=1), "swap_mask": rng.random((size, len(swaps))) < 0.7} if swaps else {}
    return {
        "video": rng.integers(0, 256, (size, frames, side, side, 3), dtype=np.uint8),
        "text_ids": ids,
        "text_mask": mask,
        "local_mask": local_mask,
        "token_object": rng.integers(0, 4, mask.shape, dtype=np.int32) * local_mask,
        "clip_objects": np.pad(rng.integers(0, 4, (size, 3), dtype=np.int32), ((0, 0), (0, 29))),
        "frame": rng.integers(0, 256, (size, 1, side, side, 3), dtype=np.uint8),
        "caption_ids": caption_ids,
        "caption_mask": caption_mask,
        **more,
    }
