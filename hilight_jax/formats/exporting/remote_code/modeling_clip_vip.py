"""CLIP-ViP+ on torch: clips and captions as unit vectors of one space, and words as maps over the patches of a clip."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .clip_vip_tower import ClipVipTower
from .configuration_clip_vip import ClipVipConfig
from .local_heads import LocalHeads, TextTower, tapped_patches, tapped_tokens


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
            levels = [level for level, _ in config.level_pairs]
            self.local = LocalHeads(levels, config.local_head, config.center_video, *widths, config.embed_dim)
        if config.pool_local:
            self.local_projection = nn.Linear(config.embed_dim, config.embed_dim, bias=False)
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
        embeds = self.visual_projection(self.vision_model(pixel_values_videos)[1])
        if self.config.pool_local:
            patches = functional.normalize(self._local_video(pixel_values_videos)[0], dim=-1)
            embeds = embeds + self.local_projection(patches.amax((1, 2)).to(embeds.dtype))
        return functional.normalize(embeds.float(), eps=0)

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
        states = self.vision_model(pixels)[2]
        levels = [level for level, _ in self.config.level_pairs] or [len(states) - 1]
        patches = tapped_patches(self.vision_model, states, levels, pixels.shape[1])
        if not self.config.level_pairs:
            return [self.visual_projection(patches[0]).float()]
        return self.local.map_video(patches)

    def _local_text(self, ids: torch.Tensor, mask: torch.Tensor | None) -> list[torch.Tensor]:
        tokens, states = self.text_model(ids, mask)
        if not self.config.level_pairs:
            return [self.text_projection(tokens).float()]
        levels = [level for _, level in self.config.level_pairs]
        return self.local.map_text(tapped_tokens(tokens, states, levels, self.config.local_text_side))


__all__ = ["ClipVipModel"]
