"""Matrix-multiplication FLOPs of the dual encoder, counted from its configuration alone.

Counted: every matrix product of the forward pass, two FLOPs per multiply-add, over the key positions that a query is
allowed to see in the video tower (CLIP-ViP's proxy-guided attention) and over all positions in the text tower (its
causal mask is applied after the product). Not counted: norms, activations, softmaxes, losses, the optimiser, and
layers that are computed again in the backward pass. The backward pass has two products for each of the forward one,
so a train step counts three forward passes. Letters: core/shapes.py.
"""

from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.video_text import DualEncoderConfig
from hilight_jax.stages.encoder_config import EncoderTrainConfig


def train_step_flops(config: EncoderTrainConfig) -> int:
    """Returns the model FLOPs of one step over the global batch: three forward passes of everything it encodes."""
    model, length = config.model, config.data.text_length
    per_clip = video_flops(model.vision, config.data.num_frames) + text_flops(model.text, length)
    per_clip += projection_flops(model)
    if config.loss.local.contrast != "none":
        per_clip += local_flops(model, config.data.num_frames, length)
    if config.loss.contrast == "nce_vsc_fc":
        per_clip += video_flops(model.vision, 1) + text_flops(model.text, length) + projection_flops(model)
    return 3 * config.batch_size * per_clip


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
