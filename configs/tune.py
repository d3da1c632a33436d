r"""HiLight's second stage, *tune*: the language model learns the custom domain (arXiv 2407.07325).

    make demo                                                                # all stages of preset demo, in order
    python -m hilight_jax.train --config configs/tune.py:2b --config.sources.align=runs/align-2b \
        --config.data.train=video_instruct:VideoInstruct100K.json,videos=VIDEOS

Presets (`configs/tune.py:PRESET[,key=value...]`; sizes are those of configs/align.py):

    demo   LoRA and token mining on the same questions, 60 steps: a minute on two CPU cores. configs/align.py has
           the figures of both stages together.
    2b     LoRA on HiLight-2B. The released script (..._stage2.sh): VideoInstruct-100K, 3 epochs of 100,010 samples, 5 a
           GPU on 6 GPUs (the number of GPUs is inferred from stage 1), rank 64, alpha 32, dropout 0.05 on all seven
           linear maps of every layer, learning rate 1e-3, cosine with a warm-up of 0.2 %, token mining frozen. All of
           it is the default here. Nothing is measured on an accelerator.

Arguments: `train=lora` (default of 2b), `lora+token_mining` (default of demo; of 2b what the released "TM+LLM"
checkpoints seem to be), `full` (every weight of the language model), `full+token_mining`;
`connector=...`, `tracks=...` and `frames=...` as in configs/align.py.
"""

from ml_collections import ConfigDict

from configs import align, common

TRAIN = ("lora", "lora+token_mining", "full", "full+token_mining")


def get_config(argument: str = "demo") -> ConfigDict:
    """Returns the config of `PRESET[,key=value...]`."""
    return common.parse(argument, {"demo": demo, "2b": full}, {"train": set_train, **align.ARGUMENTS})


def set_train(config: ConfigDict, value: str) -> None:
    """Chooses the parts that are trained."""
    common.check_choice("train", value, TRAIN)
    frozen = [] if value.endswith("token_mining") else ["token_mining"]
    if value.startswith("full"):
        del config.model["lora"]
        config.optimizer.learning_rate = 2e-5  # Usual for whole models of this size; the HiLight paper trains none.
    else:
        frozen.append("gemma")
    config.freeze = tuple(frozen)


def full() -> ConfigDict:
    """LoRA on HiLight-2B."""
    config = _tune(align.full(), "runs/align-2b", steps=10_001)
    config.model.lora = {}
    set_train(config, "lora")
    return config


def demo() -> ConfigDict:
    """LoRA of rank 16 on the small Gemma, and token mining."""
    config = _tune(align.demo(), "runs/align-demo", steps=60)
    config.eval_every = 60
    config.optimizer.warmup_fraction = 0.05
    config.model.lora = {"rank": 16}
    set_train(config, "lora+token_mining")
    return config


def _tune(config: ConfigDict, aligned: str, steps: int) -> ConfigDict:
    """Makes a config of the stage `align` one that goes on from a run of it."""
    config.name = config.stage = "tune"
    config.sources = {"align": aligned}
    config.steps = steps
    config.optimizer.learning_rate = 1e-3
    return config
