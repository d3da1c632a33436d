"""CLIP-ViP+ on torch: clips and captions as unit vectors of one space, and words as maps over the patches of a clip."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .clip_vip_tower import Attention, Block, ClipVipTower
from .configuration_clip_vip import ClipVipConfig


@dataclass
class ClipVipOutput(ModelOutput):
    """The output of `ClipVipModel`.

    Attributes:
      video_embeds: [B, E], unit vectors.
      text_embeds: [texts, E], unit vectors.
      logits_per_video: [B, texts], cosines times the learned scale.
      logits_per_text: Its transpose.
    """

    video_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    logits_per_video: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None


class ClipVipModel(PreTrainedModel):
    """The dual encoder; names of weights are those of CLIP-ViP's files, `local.*` are the local heads."""

    config_class = ClipVipConfig
    base_model_prefix = "clip_vip"
    main_input_name = "pixel_values_videos"
    _no_split_modules = ["Block"]

    def __init__(self, config: ClipVipConfig):
        super().__init__(config)
        self.vision_model = ClipVipTower(**config.video_config)
        self.text_model = TextTower(**config.text_config)
        widths = config.video_config["width"], config.text_config["width"]
        self.visual_projection = nn.Linear(widths[0], config.embed_dim, bias=False)
        self.text_projection = nn.Linear(widths[1], config.embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(0.0))
        if config.level_pairs:
            self.local = LocalHeads(config, *widths)
        self.post_init()

    def _init_weights(self, module):
        """Leaves fresh weights as torch makes them: this model is loaded, not trained from scratch."""

    def forward(self, pixel_values_videos=None, input_ids=None, attention_mask=None, return_dict=True):
        """Embeds clips [B, F, 3, H, W] and captions [texts, L], and compares them."""
        video = self.get_video_features(pixel_values_videos)
        text = self.get_text_features(input_ids, attention_mask)
        logits = self.logit_scale.exp() * video @ text.T
        out = ClipVipOutput(video_embeds=video, text_embeds=text, logits_per_video=logits, logits_per_text=logits.T)
        return out if return_dict else out.to_tuple()

    def get_video_features(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """Embeds clips [B, F, 3, H, W] of normalised pixels as unit vectors [B, E]."""
        return functional.normalize(self.visual_projection(self.vision_model(pixel_values_videos)[1]).float(), eps=0)

    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embeds captions [texts, L] as unit vectors [texts, E]."""
        tokens = self.text_model(input_ids, attention_mask)[0]
        pooled = tokens[torch.arange(len(tokens), device=tokens.device), input_ids.argmax(-1)]
        return functional.normalize(self.text_projection(pooled).float(), eps=0)

    def get_local_features(self, pixel_values_videos=None, input_ids=None, attention_mask=None):
        """The local features of words and patches, one entry a level.

        Returns:
          Of clips, [B, F, P, E] each, and of captions, [texts, L, E] each, not normalised; None for what is not given.
          Without local heads the last level through CLIP's projections.
        """
        video, text = None, None
        if pixel_values_videos is not None:
            video = self._local_video(pixel_values_videos)
        if input_ids is not None:
            text = self._local_text(input_ids, attention_mask)
        return video, text

    def word_maps(self, pixel_values_videos, input_ids, attention_mask=None) -> torch.Tensor:
        """The similarity of every token of a caption to every patch of its clip: [B, L, F, P].

        The levels are averaged with `config.level_weights`.
        """
        video, text = self.get_local_features(pixel_values_videos, input_ids, attention_mask)
        maps = 0
        for weight, patches, words in zip(self.config.level_weights or [1.0], video, text, strict=True):
            if self.config.similarity == "cosine":
                patches, words = functional.normalize(patches, dim=-1), functional.normalize(words, dim=-1)
            maps = maps + weight * torch.einsum("ble,bfpe->blfp", words, patches)
        return maps

    def _local_video(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        _, _, states = self.vision_model(pixels)
        cut, depth = self.vision_model.embeddings.num_proxy_tokens, len(states) - 1

        def patches(level):
            x = self.vision_model.post_layernorm(states[level]) if level == depth else states[level]
            return x[:, cut:].unflatten(1, (pixels.shape[1], -1))

        if not self.config.level_pairs:
            return [self.visual_projection(patches(depth)).float()]
        return self.local.map_video([patches(level) for level, _ in self.config.level_pairs])

    def _local_text(self, ids: torch.Tensor, mask: torch.Tensor | None) -> list[torch.Tensor]:
        tokens, states = self.text_model(ids, mask)
        depth, always_first = len(states) - 1, self.config.local_text_side == "embedding"

        def words(level):
            level = 0 if always_first else level
            return tokens if level == depth else states[level]

        if not self.config.level_pairs:
            return [self.text_projection(tokens).float()]
        return self.local.map_text([words(level) for _, level in self.config.level_pairs])


class TextTower(nn.Module):
    """CLIP's causal text tower."""

    def __init__(self, vocab_size: int, max_length: int, width: int, depth: int, num_heads: int, mlp_dim: int):
        super().__init__()
        self.embeddings = nn.Module()
        self.embeddings.token_embedding = nn.Embedding(vocab_size, width)
        self.embeddings.position_embedding = nn.Embedding(max_length, width)
        self.encoder = nn.Module()
        blocks = (Block(TextAttention(width, num_heads), width, mlp_dim) for _ in range(depth))
        self.encoder.layers = nn.ModuleList(blocks)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None):
        """Encodes captions [B, L]: tokens [B, L, D] after the final norm, and the hidden states before it."""
        length = input_ids.shape[1]
        x = self.embeddings.token_embedding(input_ids) + self.embeddings.position_embedding.weight[:length]
        bias = torch.full((length, length), -torch.inf, dtype=x.dtype, device=x.device).triu(1)
        if attention_mask is not None:
            hidden = torch.finfo(x.dtype).min
            bias = bias + (1 - attention_mask[:, None, None].to(x.dtype)) * hidden
        states = [x]
        for layer in self.encoder.layers:
            x = layer(x, bias)
            states.append(x)
        return self.final_layer_norm(x), states


class TextAttention(Attention):
    """Plain attention with a bias on its scores."""

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Mixes [B, L, D]."""
        q, k, v = self.heads(x)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias
        mixed = scores.float().softmax(-1).to(v.dtype) @ v
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class LocalHeads(nn.Module):
    """One pair of maps for each level, and the scale of the loss that they were trained with."""

    def __init__(self, config: ClipVipConfig, video_width: int, text_width: int):
        super().__init__()
        self.levels, self.center_video = [level for level, _ in config.level_pairs], config.center_video
        for i, level in enumerate(self.levels):
            mlp = level == 0 and config.local_head == "mlp"
            head = (
                MlpHead(video_width, config.embed_dim) if mlp else nn.Linear(video_width, config.embed_dim, bias=False)
            )
            self.add_module(f"video_{i}", head)
            self.add_module(f"text_{i}", nn.Linear(text_width, config.embed_dim, bias=False))
        self.scale = nn.Parameter(torch.tensor(0.0))

    def map_video(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Maps the patches [B, F, P, D] of every level."""
        mapped = []
        for i, (level, x) in enumerate(zip(self.levels, features, strict=True)):
            if self.center_video and level > 0:
                x = x - x.mean((1, 2), keepdim=True)
            mapped.append(self.get_submodule(f"video_{i}")(x).float())
        return mapped

    def map_text(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Maps the tokens [B, L, D] of every level."""
        return [self.get_submodule(f"text_{i}")(x).float() for i, x in enumerate(features)]


class MlpHead(nn.Module):
    """LayerNorm, a GELU layer of twice the shared width, a linear map."""

    def __init__(self, width: int, embed_dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * embed_dim), nn.Linear(2 * embed_dim, embed_dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps every patch by itself."""
        return self.fc2(functional.gelu(self.fc1(self.norm(x)), approximate="tanh"))


__all__ = ["ClipVipModel"]
