r"""HiLight's first stage, *align*: token mining learns inputs that the language model can read (arXiv 2407.07325).

    make demo                                                                # all stages of preset demo, in order
    python -m hilight_jax.train --config configs/align.py:2b \
        --config.sources.encoder=runs/encoder-b16 --config.sources.long_clip=runs/long_clip-b16 \
        --config.sources.language_model=runs/gemma-2b --config.model.gemma.hidden_act=gelu_pytorch_tanh \
        --config.data.train=valley:valley_train.json,videos=VIDEOS

Presets (`configs/align.py:PRESET[,key=value...]`):

    demo   a small Gemma on the demo's towers. There is no pretrained language model of its size: here, and only here,
           the stage trains the language model too, and a tokenizer of its own on the commentary. Questions of
           billiards clips, all kinds about equally often, one and several turns, none, one and two clips, the encoder
           looking at each clip once. Two CPU cores with a product peak of 430 to 490 GFLOP/s: 5 min for 1,700 steps of
           16 conversations. With the stage tune behind it 0.678 right as the mean of 27 kinds (three seeds, 0.677 to
           0.679), 0.350 by the question alone.
    mini   the demo with a layer more for 14,000 steps, all kinds of questions asked about equally often:
           billiards-mini (`make mini`, which draws 32,000 clips for it). Two CPU cores: 77 min beside other work.
           0.864 right as the mean of 27 kinds, 0.373 by the question alone.
    2b     HiLight-2B. The released script (ds_HiLight_gemma_train_GPUs.sh) trains token mining alone on Valley-703k:
           20 epochs of 702,750 samples, 5 a GPU on 6 GPUs, learning rate 1e-4, no weight decay, cosine with a warm-up
           of 0.2 %, AdamW (0.9, 0.999, 1e-8), gradient norm 1. All of it is the default here; what differs: bfloat16 on
           accelerators where it used float16, and conversations are cut to 1,024 rows where it set 512 and did not
           cut. Nothing is measured on an accelerator; the HiLight paper gives a loss, no accuracy. The runs that it
           builds on are made from published weights by `python -m hilight_jax.convert`, or are runs of the other
           stages. Gemma by itself computes the GELU by its tanh form: add
           --config.model.gemma.hidden_act=gelu_pytorch_tanh.

Arguments: `frames=encoder|long_clip`, the tower that reads the key frames; `key_frames=uniform|content`, the rule that
chooses them; `tracks=` of the demo's word tracks (2b has none): `off`, none, `plain`, their numbers as they are, or
`waves`, scaled and with places as waves, but no relations of things (models/word_tracks.py); and `connector=`
(models/token_mining.py):

    dual_projector|two_linear|one_linear   the HiLight paper's Figure 3, the first as released; the default of 2b
    transposed                             released, but each expanded token holds one value of every channel
    positions|heads|residual|norm          released, with one option: embeddings of a patch's frame, row and column on
                                           keys and values; four heads; queries added to what they mined; a LayerNorm
                                           instead of the last ReLU
    combined                               released, with these four
    grid_pooling                           no attention: patches averaged on a grid (DeCo, arXiv 2405.20985), which has
                                           about as many tokens: 3 by 3 of a frame instead of the demo's 8, 6 by 6
                                           instead of 32
    frame_mean                             the same with one token a frame; the default of demo, where things and words
                                           carry what is where
"""

from ml_collections import ConfigDict

from configs import common
from hilight_jax.core.errors import ConfigError

# Changes to the released structure.
CONNECTORS = {
    "dual_projector": {},
    "transposed": {"expansion": "transpose"},
    "two_linear": {"structure": "two_linear", "tokens_per_frame": 1},
    "one_linear": {"structure": "one_linear", "tokens_per_frame": 1},
    "positions": {"positions": True},
    "heads": {"num_heads": 4},
    "residual": {"residual": True},
    "norm": {"final_norm": True},
    "combined": {"positions": True, "num_heads": 4, "residual": True, "final_norm": True},
    "grid_pooling": {"structure": "grid_pooling"},
    "frame_mean": {"structure": "grid_pooling", "tokens_per_frame": 1},
}
# Shares of the demo's conversations that are about two clips, and about none.
QUESTIONS = ",two_clips=0.1,no_clip=0.05"
# The released structure of a preset: token mining's values that differ from the defaults, and the tokens of a frame.
RELEASED = {
    "demo": ({"width_video": 128, "width_frames": 128, "width_out": 128}, 8),
    "2b": ({}, 32),
}
RELEASED["mini"] = RELEASED["demo"]


def get_config(argument: str = "demo") -> ConfigDict:
    """Returns the config of `PRESET[,key=value...]`."""
    return common.parse(argument, {"demo": demo, "mini": mini, "2b": full}, ARGUMENTS)


def set_connector(config: ConfigDict, value: str) -> None:
    """Chooses a structure or an option of the connector, and sets the number of a clip's rows to what it makes."""
    common.check_choice("connector", value, CONNECTORS)
    widths, tokens = RELEASED[config.preset.partition(",")[0]]
    if value == "grid_pooling":
        tokens = round(tokens**0.5) ** 2
    tokens = CONNECTORS[value].get("tokens_per_frame", tokens)
    config.model.token_mining = {**widths, **CONNECTORS[value], "tokens_per_frame": tokens}
    config.data.num_video_tokens = config.data.key_frames.count * tokens + len(config.data.get("things", ()))


def set_frames(config: ConfigDict, value: str) -> None:
    """Chooses the tower of the key frames: a `long_clip` of its own, or the `encoder` through its projection."""
    common.check_choice("frames", value, ("encoder", "long_clip"))
    preset = config.preset.partition(",")[0]
    own = value == "long_clip"
    config.model.frames = ({} if preset == "2b" else common.demo_frames()) if own else None
    if config.stage == "align":
        config.sources.long_clip = f"runs/long_clip-{'b16' if preset == '2b' else 'demo'}" if own else ""


def set_tracks(config: ConfigDict, value: str) -> None:
    """Takes word tracks away (`off`), as in the released model, or a part of them."""
    common.check_choice("tracks", value, ("off", "plain", "waves"))
    if value != "off":
        if not config.model.get("word_tracks"):
            raise ConfigError(f"tracks={value} is about word tracks, which this preset does not have; leave it out.")
        config.model.word_tracks.relation_layers = 0
        config.model.word_tracks.octaves = 0 if value == "plain" else config.model.word_tracks.octaves
        return
    config.data.num_video_tokens = config.data.get("num_video_tokens", 384) - len(config.data.get("things", ()))
    for part in ("word_tracks", "text", "local"):
        config.model[part] = None
    config.data.things = None


def set_key_frames(config: ConfigDict, value: str) -> None:
    """Chooses the rule of the key frames: spread evenly, as released, or where the content of frames changes."""
    common.check_choice("key_frames", value, ("uniform", "content"))
    config.data.key_frames.rule = value


ARGUMENTS = {
    "connector": set_connector,
    "tracks": set_tracks,
    "frames": set_frames,
    "key_frames": set_key_frames,
}


def full() -> ConfigDict:
    """HiLight-2B: CLIP-ViP+ B/16, Long-CLIP B/16, token mining as released, Gemma-2B."""
    return ConfigDict(
        {
            "name": "align",
            "stage": "align",
            "sources": {
                "encoder": "runs/encoder-b16",
                "long_clip": "runs/long_clip-b16",
                "language_model": "runs/gemma-2b",
            },
            "freeze": ("gemma",),
            "mesh": {"fsdp": -1},  # All chips of a slice share what is trained, however many they are.
            "steps": 468_500,
            "batch_size": 30,
            "eval_every": 500,
            "eval_batch_size": 30,
            "loss_chunk": 64,  # Positions whose logits exist at a time: all of them are 1 GB a sample.
            "optimizer": {"learning_rate": 1e-4, "weight_decay": 0.0, "b2": 0.999, "warmup_fraction": 0.002},
            "keep": {"every": 500, "best_metric": "validation/answers_right"},
            "model": {"token_mining": {}, "compute": {"dtype": "auto", "remat": True}},
            "data": {"key_frames": {"count": 12}, "buckets": (512, 640, 768, 1024)},
        }
    )


def mini() -> ConfigDict:
    """The demo with a layer more, for longer."""
    config = demo()
    config.sources.encoder = "runs/encoder-mini"
    config.steps, config.eval_every, config.keep.every, config.cache_gb = 14000, 7000, 500, 16.0
    config.model.gemma.depth = 4
    config.data.update(common.demo_world("questions", f"{QUESTIONS},turns=5,apart=0.8,balanced=1", QUESTIONS))
    return config


def demo() -> ConfigDict:
    """The demo's towers, a token for each key frame and each thing, a Gemma of three layers from scratch."""
    return ConfigDict(
        {
            "name": "align",
            "stage": "align",
            "sources": {"encoder": "runs/encoder-demo"},
            "generate_missing": True,
            "cache_gb": 2.0,
            "steps": 1700,
            "batch_size": 16,
            "eval_every": 1700,
            "optimizer": {
                "name": "muon",
                "learning_rate": 4e-3,
                "weight_decay": 0.01,
                "warmup_fraction": 0.1,
                "multipliers": {"gemma/embedder/table": 0.25},
            },
            "keep": {"every": 850, "best_metric": "validation/answers_right"},
            "model": {
                "vision": common.demo_vision(),
                "frames": None,
                "text": common.demo_text(),
                "local": common.demo_local(),
                "word_tracks": {
                    "num_frames": 6,
                    "embed_dim": 128,
                    "hidden": 256,
                    "max_clips": 2,
                    "octaves": 4,
                    "relation_layers": 2,
                },
                "token_mining": {**RELEASED["demo"][0], **CONNECTORS["frame_mean"]},
                "gemma": {
                    "vocab_size": 1024,
                    "width": 128,
                    "depth": 3,
                    "num_heads": 4,
                    "num_kv_heads": 4,
                    "head_dim": 32,
                    "mlp_dim": 256,
                    "hidden_act": "gelu_pytorch_tanh",
                },
                "compute": {"dtype": "auto", "unroll": True},
            },
            "data": {
                **common.demo_world("questions", f"{QUESTIONS},turns=5,apart=0.8,balanced=1", f"{QUESTIONS},first=256"),
                "num_frames": 6,
                "image_size": 64,
                "key_frames": {"count": 4},
                "things": common.THINGS,
                "num_video_tokens": 4 + len(common.THINGS),
                "max_videos": 2,
                "max_length": 1024,
                "buckets": (144, 168, 192, 240, 1024),
            },
        }
    )
