r"""HiLight's second stage, *tune*: the language model learns the custom domain (arXiv 2407.07325).

    make demo                                                                # all stages of preset demo, in order
    python -m hilight_jax.train --config configs/tune.py:2b --config.sources.align=runs/align-2b \
        --config.data.train=video_instruct:VideoInstruct100K.json,videos=VIDEOS

Presets (`configs/tune.py:PRESET[,key=value...]`; sizes are those of configs/align.py):

    demo   LoRA and token mining on the same questions. Two CPU cores: 2 min for 150 steps of 32 conversations.
           Measured on 256 held-out clips, seed 0: questions of the kinds that need the video are answered right by
           0.541, the mean of the kinds, against 0.380 for always the most frequent answer and 0.381 for the same model
           shown another clip.
    2b     LoRA on HiLight-2B. The released script (..._stage2.sh): VideoInstruct-100K, 3 epochs of 100,010 samples, 5 a
           GPU on 6 GPUs (the number of GPUs is inferred from stage 1), rank 64, alpha 32, dropout 0.05 on all seven
           linear maps of every layer, learning rate 1e-3, cosine with a warm-up of 0.2 %, token mining frozen. All of
           it is the default here. Nothing is measured on an accelerator.

Arguments: `train=lora` (default of 2b), `lora+token_mining` (default of demo; of 2b what the released "TM+LLM"
checkpoints seem to be), `full` (every weight of the language model), `full+token_mining`;
`connector=...` and `frames=...` as in configs/align.py.
"""

import pathlib
import runpy

import ml_collections

from hilight_jax.core.errors import ConfigError, nearest

ALIGN = runpy.run_path(str(pathlib.Path(__file__).with_name("align.py")))
TRAIN = ("lora", "lora+token_mining", "full", "full+token_mining")


def get_config(argument: str = "demo") -> ml_collections.ConfigDict:
    """Returns the config of `PRESET[,key=value...]`."""
    preset, *pairs = argument.split(",")
    presets = {"demo": demo, "2b": full}
    if preset not in presets:
        raise ConfigError(f"'{preset}' is not a preset.{nearest(preset, presets)} Presets: {', '.join(presets)}.")
    config = presets[preset]()
    config.preset = argument
    changes = {"train": set_train, **ALIGN["ARGUMENTS"]}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in changes:
            raise ConfigError(f"'{key}' is not an argument.{nearest(key, changes)} Known: {', '.join(changes)}.")
        changes[key](config, value)
    return config


def set_train(config: ml_collections.ConfigDict, value: str) -> None:
    """Which parts are trained."""
    if value not in TRAIN:
        raise ConfigError(f"train={value} is not one of {', '.join(TRAIN)}.{nearest(value, TRAIN)}")
    frozen = [] if value.endswith("token_mining") else ["token_mining"]
    if value.startswith("full"):
        del config.model["lora"]
        config.optimizer.learning_rate = 2e-5  # Usual for whole models of this size; the report trains none.
    else:
        frozen.append("gemma")
    config.freeze = tuple(frozen)


def full() -> ml_collections.ConfigDict:
    """LoRA on HiLight-2B."""
    config = ALIGN["full"]()
    _become_tune(config)
    config.sources.align = "runs/align-2b"
    config.steps = 10_001
    config.optimizer.learning_rate = 1e-3
    config.model.lora = {"rank": 64, "alpha": 32.0, "dropout": 0.05}
    set_train(config, "lora")
    return config


def demo() -> ml_collections.ConfigDict:
    """LoRA of rank 16 on the small Gemma, and token mining."""
    config = ALIGN["demo"]()
    _become_tune(config)
    config.sources.align = "runs/align-demo"
    config.steps = 150
    config.eval_every = 150
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_fraction = 0.05
    config.model.lora = {"rank": 16, "alpha": 32.0, "dropout": 0.05}
    set_train(config, "lora+token_mining")
    return config


def _become_tune(config: ml_collections.ConfigDict) -> None:
    config.name = config.stage = "tune"
    for source in ("encoder", "long_clip", "language_model"):
        config.sources[source] = ""
