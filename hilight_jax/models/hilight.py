"""HiLight (arXiv 2407.07325): two towers see a clip, token mining condenses it, Gemma answers questions about it.

CLIP-ViP+ encodes the whole clip, Long-CLIP single key frames of it. The frames' features query the clip's tokens, and
the results replace the clip's rows among the embeddings of the text. Shapes are static throughout: a batch may mix
samples of text alone, of one clip and of several in any order.

Letters: B batch, L text length, V video tokens of a clip, U clips of a sample, F frames, S tokens of a clip, D width,
E shared embedding width, v vocabulary; Y rows, X columns and C colours of an image.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.config import check_same
from hilight_jax.core.mesh import split_over_batch
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.sharding import Rule
from hilight_jax.core.trees import Tree
from hilight_jax.models import lora
from hilight_jax.models.clip_vip import VISION_PARTITION_RULES, VideoTower, VisionConfig
from hilight_jax.models.gemma import GEMMA_PARTITION_RULES, Gemma
from hilight_jax.models.gemma_config import GEMMA_2B, GemmaConfig
from hilight_jax.models.gemma_decoding import Cache
from hilight_jax.models.layers import ComputeConfig, projection
from hilight_jax.models.long_clip import FRAME_PARTITION_RULES, FrameConfig, FrameTower
from hilight_jax.models.lora import COLLECTION, LORA_PARTITION_RULES, LoraConfig
from hilight_jax.models.token_mining import TOKEN_MINING_PARTITION_RULES, TokenMining, TokenMiningConfig

# Top names of the whole tree; ``lora`` is a flax collection of its own, see ``variables``. A model has a frame tower or
# the projection of its video tower.
PARTS = ("vision", "frames", "visual_projection", "token_mining", "gemma", "lora")
TOWER_PARTS = PARTS[:3]
PARTITION_RULES: tuple[Rule, ...] = tuple(
    (f"{part}/{path}", axes)
    for part, rules in (
        ("vision", VISION_PARTITION_RULES),
        ("frames", FRAME_PARTITION_RULES),
        ("visual_projection", ((r"kernel", ("fsdp", None)),)),
        ("token_mining", TOKEN_MINING_PARTITION_RULES),
        ("gemma", GEMMA_PARTITION_RULES),
        ("lora/gemma", LORA_PARTITION_RULES),
    )
    for path, axes in rules
)


@dataclasses.dataclass(frozen=True)
class HiLightConfig:
    """Sizes of all parts; the defaults are HiLight-2B's.

    Attributes:
      vision: The video tower, CLIP-ViP+.
      frames: The frame tower, Long-CLIP's. None: the video tower looks at the key frames too, each a clip of one frame,
        through the projection that it was trained with.
      token_mining: The connector between the towers and the language model.
      gemma: The language model.
      lora: Low-rank deltas on the language model, or None.
      compute: How to compute it.
    """

    vision: VisionConfig = VisionConfig()
    frames: FrameConfig | None = FrameConfig()
    token_mining: TokenMiningConfig = TokenMiningConfig()
    gemma: GemmaConfig = GEMMA_2B
    lora: LoraConfig | None = None
    compute: ComputeConfig = ComputeConfig()

    def __post_init__(self):
        """Checks that the parts fit each other."""
        check_same(self, "", "token_mining.width_video", "vision.width")
        check_same(self, "", "token_mining.width_out", "gemma.width")
        if self.frames is not None:
            check_same(self, "", "token_mining.width_frames", "frames.embed_dim")
            check_same(self, "", "frames.image_size", "vision.image_size")

    def num_video_tokens(self, num_key_frames: int) -> int:
        """V, the rows that a clip takes in the language model."""
        return num_key_frames * self.token_mining.tokens_per_frame


class HiLight(nn.Module):
    """The chat model. Every method is a part that runs alone, so that frozen towers' outputs can be cached.

    Attributes:
      config: Sizes.
      stacked: Gemma's parameters on a leading layer axis; False after ``unstack_layers``, for inference.
    """

    config: HiLightConfig
    stacked: bool = True

    def setup(self):
        """Top names: vision, frames or visual_projection, token_mining, gemma."""
        config, compute = self.config, self.config.compute
        self.vision = VideoTower(config.vision, compute)
        if config.frames is not None:
            self.frames = FrameTower(config.frames, compute)
        else:
            self.visual_projection = projection(config.token_mining.width_frames, config.vision.width, compute)
        self.token_mining = TokenMining(config.token_mining, compute)
        self.gemma = Gemma(config.gemma, compute, config.lora, self.stacked)

    def __call__(
        self,
        ids: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        clip_tokens: Float[Array, "B U S D"],
        frame_features: Float[Array, "B U F E"],
        deterministic: bool = True,
        positions: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        """Runs conversations about clips whose tower features are known: the training path.

        Args:
          ids: Expanded ids: every row of a clip is ``VIDEO_ID``, V rows a clip, which a sample's clips fill in order.
            A sample without such rows is text alone and ignores its features.
          mask: True for real rows.
          clip_tokens: The video tower's tokens of up to U clips; absent clips are zeros.
          frame_features: The frame tower's embeddings of their key frames.
          deterministic: No dropout on LoRA's inputs.
          positions: None counts real rows from 0, wherever the padding is.

        Returns:
          The language model's rows after its final norm, for ``logits``.
        """
        batch, clips = clip_tokens.shape[:2]
        mined = self.mine(*(x.reshape(-1, *x.shape[2:]) for x in (clip_tokens, frame_features)))["tokens"]
        embeds = self.embed(ids, mined.reshape(batch, clips * mined.shape[1], mined.shape[2]))
        if positions is None:
            positions = count_positions(mask)
        return self.language(embeds, positions, mask, deterministic=deterministic)["tokens"]

    def encode_video(
        self, video: Float[Array, "B F Y X C"], key_frames: Int[Array, "B keys"]
    ) -> dict[str, Float[Array, "..."]]:
        """Runs both towers.

        Args:
          video: Clips of normalised pixels.
          key_frames: Numbers of the frames for the frame tower.

        Returns:
          ``clip_tokens`` [B, M+F*P, D], proxies first, without the post norm; ``frame_features`` [B, keys, E],
          projected, not normalised.
        """
        chosen = jnp.take_along_axis(video, key_frames[:, :, None, None, None], axis=1)
        chosen = chosen.reshape(-1, *chosen.shape[2:])
        embeds: Array
        if self.config.frames is not None:
            embeds = self.frames(chosen)["embeds"]
        else:
            embeds = self.visual_projection(self.vision(chosen[:, None])["pooled"])
        return {
            "clip_tokens": self.vision(video)["tokens"],
            "frame_features": embeds.reshape(*key_frames.shape, embeds.shape[-1]),
        }

    def mine(
        self, clip_tokens: Float[Array, "B S D"], frame_features: Float[Array, "B F E"]
    ) -> dict[str, Float[Array, "..."]]:
        """Token mining: ``tokens`` [B, V, D] of each clip, and the ``attention`` [B, V, S] they come from."""
        return self.token_mining(clip_tokens, frame_features)

    def embed(self, ids: Int[Array, "B L"], video_tokens: Float[Array, "B rows D"]) -> Float[Array, "B L D"]:
        """Embeddings of expanded ids, video rows filled in order; the language model scales them all, video too."""
        is_video = ids == VIDEO_ID
        return splice(split_over_batch(self.gemma.embed(jnp.where(is_video, 0, ids))), video_tokens, is_video)

    def language(
        self,
        inputs_embeds: Float[Array, "B L D"],
        positions: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        cache: Cache | None = None,
        **options: bool,
    ) -> dict[str, Any]:
        """The language model on merged embeddings, see ``Gemma``."""
        return self.gemma(inputs_embeds, positions, mask, cache, **options)

    def logits(self, tokens: Float[Array, "B L D"]) -> Float[Array, "B L v"]:
        """Predictions of rows after the final norm."""
        return self.gemma.logits(tokens)

    def language_model_parts(
        self,
        ids: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        clip_tokens: Float[Array, "B U S D"],
        frame_features: Float[Array, "B U F E"],
    ) -> Float[Array, "B L v"]:
        """From tower features to logits; ``init`` by this method makes every part but the towers."""
        logits = self.logits(self(ids, mask, clip_tokens, frame_features))
        if self.is_initializing() and self.config.lora is not None:
            self._init_lora(self.config.lora)
        return logits

    def from_pixels(
        self,
        ids: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        video: Float[Array, "B U F Y X C"],
        key_frames: Int[Array, "B U keys"],
    ) -> Float[Array, "B L v"]:
        """From pixels to logits; ``init`` by this method makes every part."""
        batch, clips = video.shape[:2]
        towers = self.encode_video(*(x.reshape(batch * clips, *x.shape[2:]) for x in (video, key_frames)))
        features = (towers[name].reshape(batch, clips, *towers[name].shape[1:]) for name in towers)
        return self.language_model_parts(ids, mask, *features)

    def _init_lora(self, config: LoraConfig) -> None:
        """Adds deltas that change nothing yet to a fresh model, as a collection of their own."""
        deltas = lora.init(self.make_rng("params"), self.gemma.variables["params"], config)
        for name, tree in deltas.items():
            self.gemma.put_variable(COLLECTION, name, tree)


def splice(
    text_embeds: Float[Array, "B L D"], video_tokens: Float[Array, "B rows D"], is_video: Bool[Array, "B L"]
) -> Float[Array, "B L D"]:
    """Fills the i-th video row of each sample with row i of its video tokens.

    Every sample takes from its own tokens only, so nothing is communicated when the batch is sharded. A sample may use
    fewer rows than it has (absent clips, text alone); rows beyond the last token repeat it, so ids must not have more.

    Args:
      text_embeds: Embeddings of the text; video rows are replaced.
      video_tokens: The video tokens of all of a sample's clips, one after the other.
      is_video: True where a video token belongs.

    Returns:
      The merged sequence in ``text_embeds``' dtype.
    """
    last = video_tokens.shape[1] - 1
    if last < 0:
        return text_embeds
    row = jnp.clip(jnp.cumsum(is_video, axis=1, dtype=jnp.int32) - 1, 0, last)
    rows = jnp.take_along_axis(video_tokens, row[..., None], axis=1)
    return jnp.where(is_video[..., None], rows.astype(text_embeds.dtype), text_embeds)


def count_positions(mask: Bool[Array, "B L"]) -> Int[Array, "B L"]:
    """Numbers the real rows of each sample from 0; padding before the first is 0 too."""
    return jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)


def variables(params: Tree) -> dict[str, Any]:
    """Flax's collections of a tree of ``PARTS``: LoRA's deltas are a collection, the other parts are parameters."""
    deltas = {COLLECTION: params[COLLECTION]} if COLLECTION in params else {}
    return {"params": {name: part for name, part in params.items() if name != COLLECTION}, **deltas}


def parts(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of ``PARTS`` that these collections, such as ``init`` makes, come from."""
    return {**variables["params"], **({COLLECTION: variables[COLLECTION]} if COLLECTION in variables else {})}


def param_shapes(config: HiLightConfig) -> dict[str, Any]:
    """Names, shapes and dtypes of all parts, ``lora`` with them where it is configured; nothing is computed."""
    vision = config.vision
    video = jax.ShapeDtypeStruct((1, 1, vision.num_frames, vision.image_size, vision.image_size, 3), jnp.float32)
    ids, mask = jax.ShapeDtypeStruct((1, 2), jnp.int32), jax.ShapeDtypeStruct((1, 2), jnp.bool_)
    init = functools.partial(HiLight(config).init, method="from_pixels")
    key_frames = jax.ShapeDtypeStruct((1, 1, 1), jnp.int32)
    return parts(jax.eval_shape(init, jax.random.key(0), ids, mask, video, key_frames))
