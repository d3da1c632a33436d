r"""HiLight's first stage, *align*: token mining learns to speak to the language model (arXiv 2407.07325).

    make demo                                                                # all stages of preset demo, in order
    python -m hilight_jax.train --config configs/align.py:2b \
        --config.sources.encoder=runs/encoder-b16 --config.sources.long_clip=runs/long_clip-b16 \
        --config.sources.language_model=runs/gemma-2b --config.model.gemma.hidden_act=gelu_pytorch_tanh \
        --config.data.train=valley:valley_train.json,videos=VIDEOS

Presets (`configs/align.py:PRESET[,key=value...]`):

    demo   a small Gemma on the demo's towers. There is no pretrained language model of its size: here, and only here,
           the stage trains the language model too, and a tokenizer of its own on the commentary. Questions of
           billiards clips, one and several turns, one and two clips. Two CPU cores: 6 min for 700 steps of 32
           conversations, 3.6 GB, the encoder looking at each clip once (measured).
    2b     HiLight-2B. The released script (ds_HiLight_gemma_train_GPUs.sh) trains token mining alone on Valley-703k:
           20 epochs of 702,750 samples, 5 a GPU on 6 GPUs, learning rate 1e-4, no weight decay, cosine with a warm-up
           of 0.2 %, AdamW (0.9, 0.999, 1e-8), gradient norm 1. All of it is the default here; what differs: bfloat16 on
           accelerators where it used float16, and conversations are cut to 1,024 rows where it said 512 and did not
           cut. Nothing is measured on an accelerator; the report gives a loss, no accuracy. The runs that it builds on
           are what `python -m hilight_jax.convert` makes of published weights, or runs of the other stages. Gemma by
           itself computes the GELU by its tanh form: add --config.model.gemma.hidden_act=gelu_pytorch_tanh.

Arguments: `connector=dual_projector|transposed|two_linear|one_linear` (the report's Figure 3 and a fourth, see
models/token_mining.py); `frames=encoder|long_clip`, who looks at the key frames.
"""

import ml_collections

from hilight_jax.core.errors import ConfigError, nearest

# The frame towers of configs/long_clip.py.
LONG_CLIP = {
    "demo": {
        "image_size": 64,
        "patch_size": 8,
        "width": 128,
        "depth": 2,
        "num_heads": 4,
        "mlp_dim": 256,
        "embed_dim": 128,
    },
    "2b": {},
}
CONNECTORS = ("dual_projector", "transposed", "two_linear", "one_linear")


def get_config(argument: str = "demo") -> ml_collections.ConfigDict:
    """Returns the config of `PRESET[,key=value...]`."""
    preset, *pairs = argument.split(",")
    presets = {"demo": demo, "2b": full}
    if preset not in presets:
        raise ConfigError(f"'{preset}' is not a preset.{nearest(preset, presets)} Presets: {', '.join(presets)}.")
    config = presets[preset]()
    config.preset = argument
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in ARGUMENTS:
            raise ConfigError(f"'{key}' is not an argument.{nearest(key, ARGUMENTS)} Known: {', '.join(ARGUMENTS)}.")
        ARGUMENTS[key](config, value)
    return config


def set_connector(config: ml_collections.ConfigDict, value: str) -> None:
    """One of the report's structures, or the released one with a transposed expansion."""
    if value not in CONNECTORS:
        raise ConfigError(f"connector={value} is not one of {', '.join(CONNECTORS)}.{nearest(value, CONNECTORS)}")
    connector = config.model.token_mining
    if value == "transposed":
        connector.expansion = "transpose"
    elif value != "dual_projector":
        connector.structure, connector.tokens_per_frame = value, 1
        config.data.num_video_tokens = config.data.key_frames.count


def set_frames(config: ml_collections.ConfigDict, value: str) -> None:
    """Who looks at the key frames: a `long_clip` of its own, or the `encoder` through its projection."""
    if value not in ("encoder", "long_clip"):
        raise ConfigError(f"frames={value} is not one of encoder, long_clip.")
    config.model.frames = None if value == "encoder" else LONG_CLIP[config.preset.partition(",")[0]]
    if config.stage == "align":
        config.sources.long_clip = "" if value == "encoder" else f"runs/long_clip-{config.preset.partition(',')[0]}"


ARGUMENTS = {"connector": set_connector, "frames": set_frames}


def base(name: str) -> ml_collections.ConfigDict:
    """What both presets share: the released optimiser."""
    return ml_collections.ConfigDict(
        {
            "name": "align",
            "stage": "align",
            "preset": name,
            "seed": 0,
            "accumulate": 1,
            "freeze": ("gemma",),
            "generate_missing": False,
            "log_every": 10,
            "cache_gb": 0.0,
            "sources": {"encoder": "", "long_clip": "", "language_model": "", "align": "", "which": "latest"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-4,
                "weight_decay": 0.0,
                "b1": 0.9,
                "b2": 0.999,
                "warmup_fraction": 0.002,
                "clip_norm": 1.0,
                "multipliers": {},
            },
            "mesh": {"data": -1, "fsdp": 1, "tensor": 1},
            "keep": {"every": 500, "latest": 2, "best_metric": "validation/answers_right"},
        }
    )


def full() -> ml_collections.ConfigDict:
    """HiLight-2B: CLIP-ViP+ B/16, Long-CLIP B/16, token mining as released, Gemma-2B."""
    config = base("2b")
    config.sources.encoder = "runs/encoder-b16"
    config.sources.long_clip = "runs/long_clip-b16"
    config.sources.language_model = "runs/gemma-2b"
    config.mesh.fsdp = -1  # All chips of a slice share what is trained, however many they are.
    config.steps = 468_500
    config.batch_size = 30
    config.eval_every = 500
    config.eval_batch_size = 30
    config.loss_chunk = 64  # Positions whose logits exist at a time: all of them are 1 GB a sample.
    config.model = {
        "vision": {},
        "frames": {},
        "token_mining": {"structure": "dual_projector", "tokens_per_frame": 32, "expansion": "reinterpret"},
        "gemma": {},
        "compute": {"dtype": "auto", "remat": True},
    }
    config.data = {
        "train": "",
        "validation": "",
        "unseen": "",
        "tokenizer": "",
        "num_frames": 12,
        "image_size": 224,
        "key_frames": {"rule": "uniform", "count": 12},
        "num_video_tokens": 384,
        "max_videos": 1,
        "max_length": 1024,
        "buckets": (512, 640, 768, 1024),
    }
    return config


def demo() -> ml_collections.ConfigDict:
    """The demo's towers, 8 tokens a frame, a Gemma of three layers from scratch."""
    config = base("demo")
    config.sources.encoder = "runs/encoder-demo"
    config.freeze = ()
    config.generate_missing = True
    config.cache_gb = 2.0
    config.steps = 700
    config.batch_size = 32
    config.eval_every = 350
    config.eval_batch_size = 64
    config.optimizer.learning_rate = 2e-3
    config.optimizer.b2 = 0.98
    config.optimizer.weight_decay = 0.01
    config.optimizer.warmup_fraction = 0.1
    config.keep.every = 350
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
        "frames": None,
        "token_mining": {
            "structure": "dual_projector",
            "tokens_per_frame": 8,
            "expansion": "reinterpret",
            "width_video": 128,
            "width_frames": 128,
            "width_out": 128,
        },
        "gemma": {
            "vocab_size": 512,
            "width": 128,
            "depth": 3,
            "num_heads": 4,
            "num_kv_heads": 1,
            "head_dim": 32,
            "mlp_dim": 256,
            "hidden_act": "gelu_pytorch_tanh",
        },
        "compute": {"dtype": "auto", "unroll": True, "remat": False},
    }
    config.data = {
        "train": "questions:{data_dir}/demo-v1/1.0.0/train,turns=5,two_clips=0.1",
        "validation": "questions:{data_dir}/demo-v1/1.0.0/validation,two_clips=0.1",
        "unseen": "questions:{data_dir}/demo-v1/1.0.0/unseen,two_clips=0.1",
        "tokenizer": "",
        "num_frames": 4,
        "image_size": 64,
        "key_frames": {"rule": "uniform", "count": 4},
        "num_video_tokens": 32,
        "max_videos": 2,
        "max_length": 320,
        "buckets": (192, 320),
    }
    return config
