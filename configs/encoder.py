"""CLIP-ViP+, the video encoder: CLIP-ViP (arXiv 2209.06430) trained with a local loss (SPARC, arXiv 2401.09865).

    make demo                                                              # preset demo, then evaluation and report
    python -m hilight_jax.train --config configs/encoder.py:b16 --config.data.train=manifest:clips.jsonl

Presets (`configs/encoder.py:PRESET[,key=value...]`):

    demo   two small towers from scratch on the world demo-v1 (4 frames, 64 px). Two CPU cores: 4 min for 460 steps
           of 32 clips, 2 GB. Measured on 256 held-out clips, seed 0: text-to-video R@1 0.202, R@5 0.828, pointing at
           the named ball 0.941; from unseen cameras and cloths R@1 0.068, pointing 0.863.
    b32    the real encoder at patch 32; 12 frames, 224 px. Two CPU cores: 8.4 s for a step of 4 clips (measured); 128
           clips a step want an accelerator. No figure of quality is measured here.
    b16    the real encoder at patch 16. One fine-tuning run of MSR-VTT (7,031 steps of 128 clips, the recipe that
           CLIP-ViP ships: 9,000 videos x 20 captions x 5 passes). Its published text-to-video R@1 is 54.2 on MSR-VTT
           1kA; that figure is theirs and starts from pretrained weights, none is measured here.

Arguments, applied in this order: `setting=0..4` (the report's settings; 0 is no local loss),
`contrast=within_clip|across_clips|both`, `mask=none|padding|content`, `levels=embedding|last|embedding+last`,
`queries=tokens|objects`, `exclude=none|same_objects`. The report's settings, all on features before the projectors:

    1  after the last block, without a language mask        3  embedding layers, with it
    2  after the last block, with it (this is CLIP-ViP+)    4  every block, weights rising from 0.1 to 1, with it

The report gives no weight for the local loss and no shared width: here the total is NCE + 1.0 x local, and local
features pass through bias-free linear maps of their own into the width of the embeddings.
"""

import ml_collections

from hilight_jax.core.errors import ConfigError, nearest

LEVELS = {0: (), 1: ("last",), 2: ("last",), 3: ("embedding",), 4: ("all",)}
MASKS = {0: "content", 1: "none", 2: "content", 3: "content", 4: "content"}


def get_config(argument: str = "demo") -> ml_collections.ConfigDict:
    """Returns the config of `PRESET[,key=value...]`, with the keys of `ARGUMENTS`."""
    preset, *pairs = argument.split(",")
    presets = {"demo": demo, "b32": lambda: real(32), "b16": lambda: real(16)}
    if preset not in presets:
        raise ConfigError(f"'{preset}' is not a preset.{nearest(preset, presets)} Presets: {', '.join(presets)}.")
    config = presets[preset]()
    config.preset = argument
    given = dict(pair.partition("=")[::2] for pair in pairs)
    for key in given:
        if key not in ARGUMENTS:
            raise ConfigError(f"'{key}' is not an argument.{nearest(key, ARGUMENTS)} Known: {', '.join(ARGUMENTS)}.")
    for key, change in ARGUMENTS.items():  # In this order, whatever the order they were given in.
        if key in given:
            change(config, given[key])
    return config


def set_setting(config: ml_collections.ConfigDict, value: str) -> None:
    """One of the report's settings, as published: linear heads, every token a query, contrast within a clip."""
    if value not in map(str, LEVELS):
        raise ConfigError(f"setting={value} is not one of {', '.join(map(str, LEVELS))}.")
    config.model.local = {"levels": LEVELS[int(value)], "head": "linear", "text_side": "same", "center_video": False}
    config.loss.local = {"contrast": "within_clip" if LEVELS[int(value)] else "none"}
    config.loss.local_weight = 1.0
    config.data.language_mask = MASKS[int(value)]


def set_contrast(config: ml_collections.ConfigDict, value: str) -> None:
    """What the local loss holds a word's evidence against; under `both`, SPARC counts a quarter."""
    config.loss.local.contrast = value
    if value == "within_clip":
        config.loss.local.mask_false_negatives = False
    if value == "both":
        config.loss.local.within_weight = 0.25


def set_mask(config: ml_collections.ConfigDict, value: str) -> None:
    """Which tokens the local loss reads."""
    config.data.language_mask = value


def set_levels(config: ml_collections.ConfigDict, value: str) -> None:
    """Tapped levels with the heads of the preset: `embedding`, `last` or `embedding+last`."""
    config.model.local.levels = tuple(value.split("+"))
    if "embedding" not in config.model.local.levels:
        config.model.local.head = "linear"


def set_queries(config: ml_collections.ConfigDict, value: str) -> None:
    """What the local loss asks for: every one of the `tokens`, or each named thing once (`objects`)."""
    config.loss.local.queries = value


def set_exclude(config: ml_collections.ConfigDict, value: str) -> None:
    """`same_objects`: clips that show the thing that a word names are no negatives of that word; or `none` of them."""
    if value not in ("none", "same_objects"):
        raise ConfigError(f"exclude={value} is not one of none, same_objects.")
    config.loss.local.mask_false_negatives = value == "same_objects"


ARGUMENTS = {
    "setting": set_setting,
    "contrast": set_contrast,
    "mask": set_mask,
    "levels": set_levels,
    "queries": set_queries,
    "exclude": set_exclude,
}


def base(name: str) -> ml_collections.ConfigDict:
    """What all presets share: the groups, and the optimiser of CLIP-ViP's fine-tuning."""
    return ml_collections.ConfigDict(
        {
            "name": "encoder",
            "preset": name,
            "seed": 0,
            "accumulate": 1,
            "freeze": (),
            "generate_missing": False,
            "log_every": 10,
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-6,
                "weight_decay": 0.2,
                "b1": 0.9,
                "b2": 0.98,
                "warmup_fraction": 0.01,
                "clip_norm": 1.0,
                "multipliers": {},
            },
            "mesh": {"data": -1, "fsdp": 1, "tensor": 1},
            "keep": {"every": 500, "latest": 2, "best_metric": "validation/text_to_video_r1"},
            "loss": {"contrast": "nce", "local_weight": 1.0, "local": {"contrast": "within_clip"}},
        }
    )


def real(patch_size: int) -> ml_collections.ConfigDict:
    """CLIP-ViP B/32 or B/16; setting 2 of the report."""
    config = base(f"b{patch_size}")
    config.steps = 7031
    config.batch_size = 128
    config.eval_every = 500
    config.eval_batch_size = 32
    config.model = {
        "vision": {
            "image_size": 224,
            "patch_size": patch_size,
            "width": 768,
            "depth": 12,
            "num_heads": 12,
            "mlp_dim": 3072,
            "num_frames": 12,
            "num_proxy_tokens": 4,
        },
        "text": {"vocab_size": 49408, "max_length": 77, "width": 512, "depth": 12, "num_heads": 8, "mlp_dim": 2048},
        "embed_dim": 512,
        "local": {"levels": ("last",), "head": "linear", "text_side": "same", "center_video": False},
        "compute": {"dtype": "auto", "unroll": False, "remat": False},
    }
    config.data = {
        "train": "",
        "validation": "",
        "num_frames": 12,
        "image_size": 224,
        "text_length": 50,
        "language_mask": "content",
        "sampling": "jittered",
    }
    return config


def demo() -> ml_collections.ConfigDict:
    """Small towers, close cameras, local loss across clips at the embeddings and after the last block."""
    config = base("demo")
    config.generate_missing = True
    config.steps = 460
    config.batch_size = 32
    config.eval_every = 230
    config.eval_batch_size = 64
    config.keep.every = 100
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 0.05
    config.optimizer.warmup_fraction = 0.1
    config.model = {
        "vision": {
            "image_size": 64,
            "patch_size": 8,
            "width": 128,
            "depth": 3,
            "num_heads": 4,
            "mlp_dim": 256,
            "num_frames": 4,
            "num_proxy_tokens": 4,
        },
        "text": {"vocab_size": 49408, "max_length": 77, "width": 128, "depth": 2, "num_heads": 4, "mlp_dim": 256},
        "embed_dim": 128,
        "local": {"levels": ("embedding", "last"), "head": "mlp", "text_side": "embedding", "center_video": True},
        "compute": {"dtype": "auto", "unroll": True, "remat": False},
    }
    config.data = {
        "train": "tfds:{data_dir}/demo-v1/1.0.0/train",
        "validation": "tfds:{data_dir}/demo-v1/1.0.0/validation",
        "unseen": "tfds:{data_dir}/demo-v1/1.0.0/unseen",
        "num_frames": 4,
        "image_size": 64,
        "text_length": 48,
        "language_mask": "content",
        "sampling": "uniform",
    }
    config.model.logit_scale_init = 2.66  # log(1 / 0.07): from scratch, CLIP-ViP's 4.60 saturates every softmax
    config.loss.local_weight = 2.0
    config.loss.local = {
        "contrast": "across_clips",
        "queries": "objects",
        "group_size": 16,
        "mask_false_negatives": True,
    }
    return config
