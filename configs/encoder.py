"""CLIP-ViP+, the video encoder: CLIP-ViP (arXiv 2209.06430) trained with a local loss (SPARC, arXiv 2401.09865).

    make demo                                                              # preset demo, then evaluation and report
    python -m hilight_jax.train --config configs/encoder.py:b16 --config.data.train=manifest:clips.jsonl

Presets (`configs/encoder.py:PRESET[,key=value...]`):

    demo   two small towers from scratch on the world demo-v2 (6 frames, 64 px), 350 steps of 32 clips. Two CPU cores
           with a product peak of 430 to 490 GFLOP/s: 2 min 30 s. On 256 held-out clips, means of three seeds:
           text-to-video R@1 0.313, pointing at the named ball 0.874, at the cue ball 0.901; with --config.steps=600,
           of one seed, 0.613, 0.906 and 0.930.
    mini   the demo for 2,000 steps: the encoder of billiards-mini (`make mini`, which draws 32,000 clips for it). One
           CPU core of the two: 34 min. R@1 0.753, pointing 0.967, at the cue ball 0.962.
    medium the demo with a video tower of half B/32's width, of four layers, in eight frames of 112 px (7 x 7 patches):
           ten times the FLOPs a step. `python -m hilight_jax.ablate medium` trains it under three losses, 28 to 39
           minutes each on one core of two beside other work: R@1 0.22, pointing 0.87, of one seed.
    b32    the real encoder at patch 32; 12 frames, 224 px. Two CPU cores: 8.4 s for a step of 4 clips (measured); 128
           clips a step want an accelerator (about 4 min a step on these cores). No figure of quality is measured here.
    b16    the real encoder at patch 16. One fine-tuning run of MSR-VTT (7,031 steps of 128 clips, the recipe that
           CLIP-ViP ships: 9,000 videos x 20 captions x 5 passes). Its published text-to-video R@1 is 54.2 on MSR-VTT
           1kA; that figure is theirs and starts from pretrained weights, none is measured here.

Arguments, applied in this order: `setting=0..4` (settings of the HiLight paper; 0 is no local loss),
`contrast=none|within_clip|across_clips|both`, `mask=none|padding|content`, `levels=embedding|last|embedding+last`,
`queries=tokens|objects`, `exclude=none|same_objects`, `weights=rising|even` (of the blocks of setting 4), `sparsity=`
(of SPARC: a multiple of the threshold 1/P, such as `0`, `0.5` or `2`, or `top16`, so many patches of a token),
`swaps=0..3` (a clip's false captions join the candidates of its video; `evaluate` prints how often the true one is
above), `positions=on|off` (the embeddings of places in a frame that the video tower adds to patches), `gradients=on`
(the gradients of both losses are compared after every eighth of the preset's steps). The paper (arXiv 2407.07325) has
four settings, all on features before the projectors:

    1  after the last block, without a language mask        3  embedding layers, with it
    2  after the last block, with it (this is CLIP-ViP+)    4  every block, weights rising from 0.1 to 1, with it

The paper gives no weight for the local loss and no shared width: here the total is NCE + 1.0 x local, and local
features pass through bias-free linear maps of their own into the width of the embeddings.
"""

import math

from ml_collections import ConfigDict

from configs import common
from hilight_jax.core.errors import ConfigError

LEVELS = {"0": (), "1": ("last",), "2": ("last",), "3": ("embedding",), "4": ("all",)}


def get_config(argument: str = "demo") -> ConfigDict:
    """Returns the config of `PRESET[,key=value...]`, with the keys of `ARGUMENTS`."""
    presets = {"demo": demo, "mini": mini, "medium": medium, "b32": lambda: real(32), "b16": lambda: real(16)}
    return common.parse(argument, presets, ARGUMENTS)


def set_setting(config: ConfigDict, value: str) -> None:
    """Takes one of the paper's settings as published: linear heads, every token a query, contrast within a clip."""
    common.check_choice("setting", value, LEVELS)
    config.model.local, config.model.pool_local = {"levels": LEVELS[value]}, False
    config.loss = {"local": {"contrast": "within_clip" if LEVELS[value] else "none"}}
    config.data.language_mask = "none" if value == "1" else "content"


def set_contrast(config: ConfigDict, value: str) -> None:
    """Chooses the negatives of the local loss; under `both`, SPARC counts a quarter; `none` keeps the heads alone."""
    config.loss.local.contrast = value
    if value in ("within_clip", "none"):
        config.loss.local.mask_false_negatives = False
    if value == "both":
        config.loss.local.within_weight = 0.25


def set_mask(config: ConfigDict, value: str) -> None:
    """Chooses the tokens that the local loss reads."""
    config.data.language_mask = value


def set_levels(config: ConfigDict, value: str) -> None:
    """Taps `embedding`, `last` or `embedding+last`, with the heads of the preset."""
    config.model.local.levels = tuple(value.split("+"))
    if "embedding" not in config.model.local.levels:
        config.model.local.head = "linear"


def set_queries(config: ConfigDict, value: str) -> None:
    """Chooses the queries of the local loss: every one of the `tokens`, or each named thing once (`objects`)."""
    config.loss.local.queries = value


def set_exclude(config: ConfigDict, value: str) -> None:
    """Excludes clips that show the thing which a word names from the negatives of that word (`same_objects`)."""
    common.check_choice("exclude", value, ("none", "same_objects"))
    config.loss.local.mask_false_negatives = value == "same_objects"


def set_weights(config: ConfigDict, value: str) -> None:
    """Lets the blocks of setting 4 count the more the deeper they are, as in the paper, or all alike."""
    common.check_choice("weights", value, ("rising", "even"))
    config.model.local.rising = value == "rising"


def set_sparsity(config: ConfigDict, value: str) -> None:
    """Sets the patches that a token keeps: by a multiple of the paper's threshold, or so many (`topN`)."""
    top = value.removeprefix("top")
    try:
        number = float(top) if top == value else int(top)
    except ValueError:
        number = -1
    if not (0 <= number < math.inf if top == value else number >= 1):
        raise ConfigError(f"sparsity={value} is neither a number, such as 0.5, nor a number of patches, such as top16.")
    if top == value:
        config.loss.local.threshold = number
    else:
        config.loss.local.top_patches = number


def set_positions(config: ConfigDict, value: str) -> None:
    """Takes the position embeddings of the video tower away: `off` keeps them at zero."""
    common.check_choice("positions", value, ("on", "off"))
    if value == "off":
        table = "vision/embeddings/position_embedding"
        config.zero, config.freeze = (table,), (*config.get("freeze", ()), table)


def set_swaps(config: ConfigDict, value: str) -> None:
    """Takes up to so many false captions of each clip; a world that writes them, such as demo-v2, has three."""
    common.check_choice("swaps", value, ("0", "1", "2", "3"))
    config.data.swaps = int(value)


def set_gradients(config: ConfigDict, value: str) -> None:
    """Compares the gradients of both losses, layer by layer, after every eighth of the preset's steps (`on`)."""
    common.check_choice("gradients", value, ("on", "off"))
    if value == "on":
        config.compare_gradients, config.eval_every = True, math.ceil(config.steps / 8)


ARGUMENTS = {
    "setting": set_setting,
    "contrast": set_contrast,
    "mask": set_mask,
    "levels": set_levels,
    "queries": set_queries,
    "exclude": set_exclude,
    "weights": set_weights,
    "sparsity": set_sparsity,
    "swaps": set_swaps,
    "positions": set_positions,
    "gradients": set_gradients,
}


def real(patch_size: int) -> ConfigDict:
    """CLIP-ViP B/32 or B/16 with the optimiser of its fine-tuning; setting 2 of the HiLight paper."""
    return ConfigDict(
        {
            "name": "encoder",
            "steps": 7031,
            "batch_size": 128,
            "eval_every": 500,
            "eval_batch_size": 32,
            "optimizer": {},
            "keep": {"every": 500},
            "loss": {"local": {}},
            "model": {"vision": {"patch_size": patch_size}, "local": {}, "compute": {"dtype": "auto"}},
            "data": {"text_length": 50, "sampling": "jittered"},
        }
    )


def mini() -> ConfigDict:
    """The demo for longer."""
    config = demo()
    config.steps, config.eval_every = 2000, 1000
    return config


def medium() -> ConfigDict:
    """The demo with half the width of B/32 and its 7 x 7 patches of a frame, in eight frames of 112 pixels."""
    config = demo()
    size = {"image_size": 112, "patch_size": 16, "width": 384, "depth": 4, "num_heads": 6, "mlp_dim": 768}
    config.model.vision.update({**size, "num_frames": 8})
    config.model.text.update({"width": 256, "mlp_dim": 512})
    config.model.embed_dim = 256
    config.data.update(common.demo_world("tfds", evaluation=",first=256", world="demo-v2-112"))
    config.data.num_frames, config.data.image_size = 8, 112
    return config


def demo() -> ConfigDict:
    """Small towers, close cameras, local loss across clips at the embeddings and after the last block."""
    return ConfigDict(
        {
            "name": "encoder",
            "generate_missing": True,
            "steps": 350,
            "batch_size": 32,
            "eval_every": 350,
            "optimizer": {
                "name": "muon",
                "learning_rate": 1e-3,
                "b2": 0.95,
                "weight_decay": 0.05,
                "warmup_fraction": 0.1,
                "muon_by_adam": (".*embedding.*", "local.*"),
            },
            "keep": {"every": 100},
            "loss": {
                "local_weight": 2.0,
                "local": {
                    "contrast": "across_clips",
                    "queries": "objects",
                    "group_size": 16,
                    "mask_false_negatives": True,
                },
            },
            "model": {
                "vision": common.demo_vision(),
                "text": common.demo_text(),
                "embed_dim": 128,
                "logit_scale_init": 2.66,  # log(1 / 0.07): from scratch, CLIP-ViP's 4.60 saturates every softmax
                "local": common.demo_local(),
                "pool_local": True,
                "compute": {"dtype": "auto", "unroll": True},
            },
            "data": {
                **common.demo_world("tfds", evaluation=",first=256"),
                "num_frames": 6,
                "image_size": 64,
                "text_length": 48,
            },
        }
    )
