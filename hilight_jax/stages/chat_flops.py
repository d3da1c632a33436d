"""Matrix-multiplication FLOPs of the stages long_clip, align and tune, counted from their configurations alone.

As ``training.flops``, but for parts whose weights are frozen: where gradients must pass them all the same, a backward
pass has one product for each of the forward one, so they count two passes instead of three. Parts that nothing trained
lies before (the towers, and token mining when it is frozen) count one. LoRA's deltas are trained wherever they are.
Attention has no weights: its products count three passes wherever gradients pass. Gemma's causal mask is applied after
the product, so every pair of rows counts.
"""

from hilight_jax.core import trees
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.hilight import HiLightConfig
from hilight_jax.models.long_clip import FrameConfig
from hilight_jax.models.lora import LoraConfig
from hilight_jax.models.token_mining import TokenMiningConfig
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.encoder_flops import layer_flops, text_flops, video_flops
from hilight_jax.stages.long_clip_objective import LongClipTrainConfig


def long_clip_step_flops(config: LongClipTrainConfig) -> int:
    """One step of Long-CLIP: an image, a long and a short text of every example."""
    text = config.model.text
    per_text = text_flops(text, config.data.text_length) + 2 * text.width * text.embed_dim
    return 3 * config.batch_size * (frame_flops(config.model.frames) + 2 * per_text)


def chat_step_flops(config: ChatTrainConfig) -> int:
    """One step over the global batch of the longest bucket; the towers' own program is ``towers_flops``."""
    model, data, rows = config.model, config.data, max(config.data.buckets)
    trained = {part: not trees.matches(part, config.freeze) for part in ("token_mining", "gemma")}
    mined = 3 if trained["token_mining"] else 1
    # Gradients reach Gemma's rows from its first layer on, whenever anything is trained: its table, deltas or mining.
    linear = 3 if trained["gemma"] else 2
    tokens = model.vision.num_proxy_tokens + data.num_frames * model.vision.num_patches
    per_example = mined * data.max_videos * mining_flops(model.token_mining, tokens, data.key_frames.count)
    per_example += linear * gemma_linear_flops(model.gemma, rows) + 3 * gemma_attention_flops(model.gemma, rows)
    if model.lora is not None:
        per_example += 3 * lora_flops(model.gemma, model.lora, rows)
    return config.batch_size * per_example


def towers_flops(config: HiLightConfig, num_frames: int, num_key_frames: int) -> int:
    """Both towers on one clip, forward alone."""
    if config.frames is not None:
        frame = frame_flops(config.frames)
    else:
        frame = video_flops(config.vision, 1) + 2 * config.vision.width * config.token_mining.width_frames
    return video_flops(config.vision, num_frames) + num_key_frames * frame


def frame_flops(config: FrameConfig) -> int:
    """One image through the frame tower and its projection."""
    patches, width = config.num_patches, config.width
    tokens = patches + 1
    layers = config.depth * layer_flops(tokens, tokens**2, width, config.mlp_dim)
    return 2 * patches * 3 * config.patch_size**2 * width + layers + 2 * width * config.embed_dim


def mining_flops(config: TokenMiningConfig, tokens: int, num_key_frames: int) -> int:
    """One clip through token mining."""
    video, width, out = config.width_video, config.width_frames, config.width_out
    mined = num_key_frames * config.tokens_per_frame
    flops = 2 * 2 * tokens * video * width + 2 * mined * width**2 + 2 * 2 * mined * tokens * width
    if config.structure == "dual_projector":
        flops += 2 * tokens * video**2 + 2 * num_key_frames * width * config.tokens_per_frame
    flops += 2 * mined * width * out
    return flops if config.structure == "one_linear" else flops + 2 * mined * out**2


def gemma_linear_flops(config: GemmaConfig, rows: int) -> int:
    """One example's rows through all products with Gemma's weights, the logits among them."""
    maps = sum(fan_in * fan_out for fan_in, fan_out in linear_maps(config).values())
    return 2 * rows * (config.depth * maps + config.width * config.vocab_size)


def gemma_attention_flops(config: GemmaConfig, rows: int) -> int:
    """Scores and weighted values of all layers."""
    return config.depth * 2 * 2 * rows**2 * config.num_heads * config.head_dim


def lora_flops(config: GemmaConfig, lora: LoraConfig, rows: int) -> int:
    """One example's rows through the deltas of all layers."""
    targets = [sizes for path, sizes in linear_maps(config).items() if trees.matches(path, lora.targets)]
    return 2 * rows * config.depth * sum(lora.rank * (fan_in + fan_out) for fan_in, fan_out in targets)


def linear_maps(config: GemmaConfig) -> dict[str, tuple[int, int]]:
    """Widths in and out of the linear maps of one layer, by path."""
    width, heads, keys = config.width, config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    maps = {"attn/q": (width, heads), "attn/k": (width, keys), "attn/v": (width, keys), "attn/o": (heads, width)}
    wide, narrow = (width, config.mlp_dim), (config.mlp_dim, width)
    maps |= {"mlp/gate": wide, "mlp/up": wide, "mlp/down": narrow}
    return {f"layers/{name}_proj": sizes for name, sizes in maps.items()}
