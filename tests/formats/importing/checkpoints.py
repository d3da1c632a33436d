"""Small checkpoints in the forms in which others publish theirs, made of random numbers without torch."""

import json
import pathlib

import jax
import numpy as np
from safetensors.numpy import save_file

from hilight_jax.formats import clip_names, gemma_names, hilight_names, long_clip_names
from hilight_jax.formats.exporting.huggingface_configs import gemma_config
from hilight_jax.formats.torch_files import write_torch_file
from hilight_jax.models import hilight as hilight_model
from hilight_jax.models import long_clip as long_clip_model
from hilight_jax.models import video_text
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.long_clip import FrameConfig, LongClipConfig, LongTextConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig
from hilight_jax.models.video_text import DualEncoderConfig

TOKENIZER = pathlib.Path(__file__).parents[2] / "goldens" / "tiny_gemma_tokenizer.model"
VISION = VisionConfig(image_size=16, patch_size=8, width=64, depth=2, num_heads=1, mlp_dim=32, num_frames=12)
CLIP_VISION = VisionConfig(16, 8, 64, 2, 1, 32, num_proxy_tokens=1, temporal_embedding=False)
TEXT = TextConfig(vocab_size=49408, max_length=77, width=64, depth=2, num_heads=1, mlp_dim=48)
FRAMES = FrameConfig(image_size=16, patch_size=8, width=64, depth=2, num_heads=1, mlp_dim=32, embed_dim=24)
GEMMA = GemmaConfig(640, 32, 3, 4, 1, 8, 48)
NO_HEADS = LocalHeadsConfig(levels=())
CLIP_VIP = DualEncoderConfig(vision=VISION, text=TEXT, embed_dim=24, local=NO_HEADS)
CLIP = DualEncoderConfig(vision=CLIP_VISION, text=TEXT, embed_dim=24, local=NO_HEADS)
LONG_CLIP = LongClipConfig(FRAMES, LongTextConfig(49408, 248, 64, 2, 1, 256, embed_dim=24))
HILIGHT = HiLightConfig(
    vision=VISION,
    frames=FRAMES,
    token_mining=TokenMiningConfig(tokens_per_frame=32, width_video=64, width_frames=24, width_out=32),
    gemma=GEMMA,
)


def random(shapes, seed=0):
    """Random numbers for a tree of shapes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: (0.1 * rng.standard_normal(x.shape)).astype(np.float32), shapes)


def clip_vip(path, prefix="clipmodel."):
    """A CLIP-ViP ``.pt`` with the buffers of old transformers; returns our parameters."""
    params = random(video_text.param_shapes(CLIP_VIP))
    weights = {f"{prefix}{name}": x for name, x in clip_names.to_official(params).items()}
    weights[f"{prefix}vision_model.embeddings.position_ids"] = np.arange(5)[None]
    write_torch_file(path, weights)
    return params


def hf_clip(directory):
    """CLIP as Hugging Face keeps it; returns our parameters."""
    directory.mkdir()
    params = random(video_text.param_shapes(CLIP))
    save_file({name: np.ascontiguousarray(x) if x.ndim else x for name, x in clip_names.to_official(params).items()},
              directory / "model.safetensors")  # fmt: skip
    vision, text = {"num_attention_heads": 1, "hidden_act": "quick_gelu"}, {"num_attention_heads": 1}
    config = {"model_type": "clip", "vision_config": vision, "text_config": text}
    (directory / "config.json").write_text(json.dumps(config))
    return params


def long_clip_file(path):
    """A Long-CLIP ``.pt``; returns our parameters."""
    params = random(long_clip_model.param_shapes(LONG_CLIP), 1)
    write_torch_file(path, long_clip_names.to_official(params))
    return params


def openai_clip(path):
    """CLIP in OpenAI's names with 77 positions, and the sizes that its archives hold; returns LongClip's tree."""
    config = LongClipConfig(FRAMES, LongTextConfig(49408, 77, 64, 2, 1, 256, embed_dim=24))
    params = random(long_clip_model.param_shapes(config), 2)
    weights = long_clip_names.to_official(params)
    del weights["positional_embedding_res"]
    sizes = {"input_resolution": np.array(16), "context_length": np.array(77), "vocab_size": np.array(49408)}
    write_torch_file(path, {**weights, **sizes})
    return params


def gemma_directory(directory, head=False):
    """A Gemma as Hugging Face keeps it; ``head`` adds the tied output head, as ``.bin`` files have it."""
    directory.mkdir()
    params = random(hilight_model.param_shapes(HILIGHT)["gemma"], 3)
    weights = gemma_names.to_official(params)
    if head:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        write_torch_file(directory / "pytorch_model.bin", weights)
    else:
        save_file(weights, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(gemma_config(GEMMA, "float32")))
    (directory / "tokenizer.model").write_bytes(TOKENIZER.read_bytes())
    return params


def hilight_directory(root):
    """A HiLight in the original's layout; returns our parameters by part, Long-CLIP's weights already rounded."""
    from hilight_jax.data.config import ConversationDataConfig
    from hilight_jax.formats.exporting.exported_model import ExportedChat
    from hilight_jax.formats.exporting.hilight import write_hilight

    params = random(hilight_model.param_shapes(HILIGHT), 4)
    named = long_clip_names.to_official({"frames": params["frames"]})
    params["frames"] = long_clip_names.from_official(named, {"frames": params["frames"]}, fp16_rounded=True)["frames"]
    root.mkdir()
    write_hilight(ExportedChat(HILIGHT, params, ConversationDataConfig(image_size=16), TOKENIZER), root)
    return params


def official_names(params):
    """A HiLight's arrays as the original names them."""
    return hilight_names.to_official(params)
