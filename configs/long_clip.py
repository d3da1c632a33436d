"""Long-CLIP (arXiv 2403.15378), HiLight's second tower, which reads key frames one by one.

    python -m hilight_jax.train --config configs/long_clip.py              # preset demo
    python -m hilight_jax.train --config configs/long_clip.py:b16 --config.data.train=manifest:images.jsonl

Presets (`configs/long_clip.py:PRESET`):

    demo   small towers from scratch on captioned frames of the world demo-v2 (64 px, patch 8). The long text lists the
           balls in a frame and the places of two of them; the short one is the list alone. Two CPU cores: less than
           a minute for 320 steps of 32 pairs (measured: 48 s from the first step to the last, compilation included).
           Measured once, seed 0: a linear map of a frame's features predicts which object balls are in it with an area
           under the ROC curve of 0.92 on average (red, yellow, purple, orange 0.99, green 0.70).
    b16    CLIP B/16 with 248 positions, trained as Long-CLIP's train.md recommends: 2,048 pairs a step, learning rate
           1e-6, six passes over ShareGPT4V's 1.2 million captioned images, 200 steps of warm-up. The original starts
           from OpenAI's CLIP and freezes the first table of positions; the same start is
           `--config.init_from.workdir=RUN` of a RUN that `python -m hilight_jax.convert --stretch` made. It crops
           images to a square, where this project resizes them, as HiLight does. It wants an accelerator; no figure of
           quality is measured here.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(argument: str = "demo") -> ConfigDict:
    """Returns the config of a preset."""
    return common.parse(argument, {"demo": demo, "b16": b16})


def b16() -> ConfigDict:
    """Long-CLIP B/16 with its own optimiser, which decays every parameter and clips no gradient."""
    return ConfigDict(
        {
            "name": "long_clip",
            "stage": "long_clip",
            "steps": 3647,
            "batch_size": 2048,
            "eval_every": 500,
            "freeze": ("text/position_embedding",),
            "optimizer": {
                "weight_decay": 0.01,
                "b2": 0.999,
                "warmup_fraction": 200 / 3647,
                "clip_norm": 0.0,
                "no_decay": (),
            },
            "keep": {"every": 500, "best_metric": "validation/long_text_to_image_r1"},
            "loss": {},
            "model": {"compute": {"dtype": "auto", "remat": True}},
            "data": {},
        }
    )


def demo() -> ConfigDict:
    """Small towers on captioned frames; both position tables are trained, for neither was trained before."""
    return ConfigDict(
        {
            "name": "long_clip",
            "stage": "long_clip",
            "generate_missing": True,
            "steps": 320,
            "batch_size": 32,
            "eval_every": 320,
            "optimizer": {
                "learning_rate": 1.5e-3,
                "weight_decay": 0.05,
                "warmup_fraction": 0.1,
                "no_decay": (r".*/bias", r".*norm.*/scale", r"logit_scale"),
                "multipliers": {"frames/embeddings/patch_embedding": 4.0},  # Colours first: they tell the balls apart.
            },
            "keep": {"every": 100, "best_metric": "validation/long_text_to_image_r1"},
            "loss": {"components": 16, "group_size": 32},
            "model": {
                "frames": common.demo_frames(),
                "text": {"width": 128, "depth": 1, "num_heads": 4, "mlp_dim": 256, "embed_dim": 128},
                "logit_scale_init": 2.66,  # log(1 / 0.07): from scratch, a scale of 100 saturates every softmax
                "compute": {"dtype": "auto"},
            },
            "data": {**common.demo_world("tfds", evaluation=",first=256"), "image_size": 64, "text_length": 32},
        }
    )
