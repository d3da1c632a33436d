"""Long-CLIP (arXiv 2403.15378), HiLight's second tower: it sees key frames one by one.

    python -m hilight_jax.train --config configs/long_clip.py              # preset demo
    python -m hilight_jax.train --config configs/long_clip.py:b16 --config.data.train=manifest:images.jsonl

Presets (`configs/long_clip.py:PRESET`):

    demo   small towers from scratch on captioned frames of the world demo-v1 (64 px, patch 8). The long text lists the
           balls in a frame and says where two of them lie; the short one is the list alone. Two CPU cores: less than
           a minute for 320 steps of 32 pairs (measured: 48 s from the first step to the last, compilation included).
           Measured once, seed 0: a linear map of a frame's features tells which object balls are in it with an area
           under the ROC curve of 0.92 on average (red, yellow, purple, orange 0.99, green 0.70).
    b16    CLIP B/16 with 248 positions, trained as Long-CLIP's train.md recommends: 2,048 pairs a step, learning rate
           1e-6, six passes over ShareGPT4V's 1.2 million captioned images, 200 steps of warm-up. The original starts
           from OpenAI's CLIP and freezes the first table of positions: here that start is
           `--config.init_from.workdir=RUN` of a RUN that `python -m hilight_jax.convert --stretch` made. It crops
           images to a square, where this project resizes them, as HiLight does. It wants an accelerator; no figure of
           quality is measured here.
"""

import ml_collections

from hilight_jax.core.errors import ConfigError, nearest


def get_config(argument: str = "demo") -> ml_collections.ConfigDict:
    """Returns the config of a preset."""
    presets = {"demo": demo, "b16": b16}
    if argument not in presets:
        raise ConfigError(f"'{argument}' is not a preset.{nearest(argument, presets)} Presets: {', '.join(presets)}.")
    return presets[argument]()


def base(name: str) -> ml_collections.ConfigDict:
    """What both presets share: the groups, and Long-CLIP's optimiser, which decays everything and clips nothing."""
    return ml_collections.ConfigDict(
        {
            "name": "long_clip",
            "stage": "long_clip",
            "preset": name,
            "seed": 0,
            "accumulate": 1,
            "freeze": (),
            "generate_missing": False,
            "log_every": 10,
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-6,
                "weight_decay": 1e-2,
                "b1": 0.9,
                "b2": 0.999,
                "warmup_fraction": 0.05,
                "clip_norm": 0.0,
                "no_decay": (),
                "multipliers": {},
            },
            "mesh": {"data": -1, "fsdp": 1, "tensor": 1},
            "keep": {"every": 500, "latest": 2, "best_metric": "validation/long_text_to_image_r1"},
            "loss": {"components": 32, "group_size": 128, "label_smoothing": 0.1, "short_weight": 1.0},
        }
    )


def b16() -> ml_collections.ConfigDict:
    """Long-CLIP B/16."""
    config = base("b16")
    config.steps = 3647
    config.batch_size = 2048
    config.eval_every = 500
    config.eval_batch_size = 64
    config.freeze = ("text/position_embedding",)
    config.optimizer.warmup_fraction = 200 / 3647
    config.model = {
        "frames": {
            "image_size": 224,
            "patch_size": 16,
            "width": 768,
            "depth": 12,
            "num_heads": 12,
            "mlp_dim": 3072,
            "embed_dim": 512,
        },
        "text": {
            "vocab_size": 49408,
            "max_length": 248,
            "kept_positions": 20,
            "width": 512,
            "depth": 12,
            "num_heads": 8,
            "mlp_dim": 2048,
            "embed_dim": 512,
        },
        "logit_scale_init": 4.6052,
        "compute": {"dtype": "auto", "unroll": False, "remat": True},
    }
    config.data = {"train": "", "validation": "", "unseen": "", "image_size": 224, "text_length": 248}
    return config


def demo() -> ml_collections.ConfigDict:
    """Small towers on captioned frames; both position tables are trained, for nobody has trained them before."""
    config = base("demo")
    config.generate_missing = True
    config.steps = 320
    config.batch_size = 32
    config.eval_every = 320
    config.eval_batch_size = 64
    config.keep.every = 100
    config.optimizer.learning_rate = 1.5e-3
    config.optimizer.weight_decay = 0.05
    config.optimizer.b2 = 0.98
    config.optimizer.warmup_fraction = 0.1
    config.optimizer.clip_norm = 1.0
    config.optimizer.no_decay = (r".*/bias", r".*norm.*/scale", r"logit_scale")
    config.optimizer.multipliers = {
        "frames/embeddings/patch_embedding": 4.0
    }  # Colours first: they tell the balls apart
    config.loss.components = 16
    config.loss.group_size = 32
    config.model = {
        "frames": {
            "image_size": 64,
            "patch_size": 8,
            "width": 128,
            "depth": 2,
            "num_heads": 4,
            "mlp_dim": 256,
            "embed_dim": 128,
        },
        "text": {
            "vocab_size": 49408,
            "max_length": 248,
            "kept_positions": 20,
            "width": 128,
            "depth": 1,
            "num_heads": 4,
            "mlp_dim": 256,
            "embed_dim": 128,
        },
        "logit_scale_init": 2.66,  # log(1 / 0.07): from scratch, a scale of 100 saturates every softmax
        "compute": {"dtype": "auto", "unroll": False, "remat": False},
    }
    config.data = {
        "train": "tfds:{data_dir}/demo-v1/1.0.0/train",
        "validation": "tfds:{data_dir}/demo-v1/1.0.0/validation",
        "unseen": "tfds:{data_dir}/demo-v1/1.0.0/unseen",
        "image_size": 64,
        "text_length": 32,
    }
    return config
