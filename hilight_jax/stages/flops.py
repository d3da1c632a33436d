"""Matrix-multiplication FLOPs of a train step of every stage, counted from its configuration.

Counted: every matrix product of the forward pass, two FLOPs per multiply-add, over the key positions that a query is
allowed to see in the video tower (CLIP-ViP's proxy-guided attention) and over all positions in the text tower (its
causal mask is applied after the product). Not counted: norms, activations, softmaxes, losses, the optimiser, and
layers that are computed again in the backward pass. The backward pass has two products for each of the forward one,
so a train step counts three forward passes.

In the chat stages some weights are frozen. A frozen part that gradients must pass counts two passes, since its backward
pass has one product for each of the forward one; a part before everything trained (the towers, and token mining when it
is frozen) counts one. LoRA's deltas are always trained. Products without weights (attention) count three passes
wherever gradients pass. Letters: core/shapes.py.
"""

from hilight_jax.core import trees
from hilight_jax.data.conversations.words import PHRASE_BUCKETS
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.long_clip import FrameConfig
from hilight_jax.models.lora import LoraConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig
from hilight_jax.models.video_text import DualEncoderConfig
from hilight_jax.models.word_tracks import TRACK
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.long_clip import LongClipTrainConfig


def encoder_step_flops(config: EncoderTrainConfig) -> int:
    """Returns the model FLOPs of one step over the global batch: three forward passes of everything it encodes."""
    model, length = config.model, config.data.text_length
    per_clip = video_flops(model.vision, config.data.num_frames) + text_flops(model.text, length)
    per_clip += projection_flops(model)
    if config.loss.local.contrast != "none":
        per_clip += local_flops(model, config.data.num_frames, length)
    if config.loss.contrast == "nce_vsc_fc":
        per_clip += video_flops(model.vision, 1) + text_flops(model.text, length) + projection_flops(model)
    per_swap = text_flops(model.text, length) + _product(1, model.text.width, model.embed_dim)
    return 3 * config.batch_size * (per_clip + config.data.swaps * per_swap)


def video_flops(config: VisionConfig, num_frames: int) -> int:
    """One clip through the video tower."""
    proxies, patches = config.num_proxy_tokens, config.num_patches
    tokens = proxies + num_frames * patches
    pairs = proxies * tokens + num_frames * patches * (proxies + patches)
    embedding = _product(num_frames * patches, 3 * config.patch_size**2, config.width)
    return embedding + config.depth * layer_flops(tokens, pairs, config.width, config.mlp_dim)


def text_flops(config: TextConfig, length: int) -> int:
    """One caption of ``length`` tokens through the text tower."""
    return config.depth * layer_flops(length, length**2, config.width, config.mlp_dim)


def projection_flops(config: DualEncoderConfig) -> int:
    """One pooled token of either tower into the shared space."""
    return _product(1, config.vision.width, config.embed_dim) + _product(1, config.text.width, config.embed_dim)


def local_flops(config: DualEncoderConfig, num_frames: int, length: int) -> int:
    """One clip's patches and one caption's tokens through the local heads of every tapped level."""
    patches, width, shared = num_frames * config.vision.num_patches, config.vision.width, config.embed_dim
    flops = 0
    for video_level, _ in config.level_pairs:
        if video_level == 0 and config.local.head == "mlp":
            flops += _product(patches, width, 2 * shared) + _product(patches, 2 * shared, shared)
        else:
            flops += _product(patches, width, shared)
        flops += _product(length, config.text.width, shared)
    return flops


def layer_flops(tokens: int, pairs: int, width: int, mlp_dim: int) -> int:
    """One layer of a tower: four projections, scores and weighted values over (query, key) ``pairs``, and the MLP."""
    return 4 * _product(tokens, width, width) + 2 * 2 * pairs * width + 2 * _product(tokens, width, mlp_dim)


def _product(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


def long_clip_step_flops(config: LongClipTrainConfig) -> int:
    """One step of Long-CLIP: an image, a long and a short text of every example."""
    text = config.model.text
    per_text = text_flops(text, config.data.text_length) + 2 * text.width * text.embed_dim
    return 3 * config.batch_size * (frame_flops(config.model.frames) + 2 * per_text)


def chat_step_flops(config: ChatTrainConfig) -> int:
    """One step over the global batch of the longest bucket; the towers' own program is ``tower_flops``.

    The logits are those of all rows, as where everything is learned; most batches of questions have half of them.
    """
    model, data, rows = config.model, config.data, max(config.data.buckets)
    trained = {part: not trees.matches(part, config.freeze) for part in ("token_mining", "gemma")}
    mined = 3 if trained["token_mining"] else 1
    # Gradients reach Gemma's rows from its first layer on, whenever anything is trained: its table, deltas or mining.
    linear = 3 if trained["gemma"] else 2
    tokens = model.vision.num_proxy_tokens + data.num_frames * model.vision.num_patches
    per_example = mined * data.max_videos * mining_flops(model.token_mining, tokens, data.key_frames.count)
    per_example += linear * gemma_linear_flops(model.gemma, rows) + 3 * gemma_attention_flops(model.gemma, rows)
    if model.word_tracks is not None:
        per_example += data.max_videos * word_track_flops(config, rows)
    if model.lora is not None:
        per_example += 3 * lora_flops(model.gemma, model.lora, rows)
    return config.batch_size * per_example


def tower_flops(config: ChatTrainConfig) -> int:
    """The frozen towers of a chat stage on the clips of one step, forward alone and without their cache."""
    model, data = config.model, config.data
    if model.frames is not None:
        frame = frame_flops(model.frames)
    else:
        frame = video_flops(model.vision, 1) + 2 * model.vision.width * model.token_mining.width_frames
    per_clip = video_flops(model.vision, data.num_frames) + data.key_frames.count * frame
    return config.batch_size * data.max_videos * per_clip


def frame_flops(config: FrameConfig) -> int:
    """One image through the frame tower and its projection."""
    patches, width = config.num_patches, config.width
    tokens = patches + 1
    layers = config.depth * layer_flops(tokens, tokens**2, width, config.mlp_dim)
    return 2 * patches * 3 * config.patch_size**2 * width + layers + 2 * width * config.embed_dim


def mining_flops(config: TokenMiningConfig, tokens: int, num_key_frames: int) -> int:
    """One clip through token mining: values and their means, and where it asks, queries, keys and scores."""
    video, width, out = config.width_video, config.width_frames, config.width_out
    mined = num_key_frames * config.tokens_per_frame
    if config.structure == "grid_pooling":
        flops = 2 * mined * tokens * video + 2 * mined * video * width
    else:
        flops = 4 * tokens * video * width + 2 * mined * width**2 + 4 * mined * tokens * width
    if config.structure == "dual_projector":
        flops += 2 * tokens * video**2 + 2 * num_key_frames * width * config.tokens_per_frame
    flops += 2 * mined * width * out
    return flops if config.structure == "one_linear" else flops + 2 * mined * out**2


def word_track_flops(config: ChatTrainConfig, rows: int) -> int:
    """One clip's tracks of all words and things through their MLPs and relations, and the words' vectors to their rows.

    Tracks get no gradient: the backward pass takes the first map once and the second twice.
    """
    tracks, width = config.model.word_tracks, config.model.gemma.width
    assert tracks is not None
    numbers, things = tracks.num_frames * (len(TRACK) + 4 * tracks.octaves), len(config.data.things or ())
    found = tracks.embed_dim * sum(weight > 0 for weight in config.model.map_weights)
    passes = (1, 1) if trees.matches("word_tracks", config.freeze) else (2, 3)
    mlps = [(PHRASE_BUCKETS[0], numbers), (things, numbers + found)]
    flops = 0
    if tracks.relation_layers:
        mlps.append((things, numbers + found))
        layers = tracks.relation_layers * layer_flops(things, things**2, width, 2 * width)
        flops += passes[1] * (layers + _product(things, width, width))
    for count, inputs in mlps:
        flops += passes[0] * _product(count, inputs, tracks.hidden) + passes[1] * _product(count, tracks.hidden, width)
    return flops + (passes[1] - 1) * 2 * rows * width


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
