"""Token mining, HiLight's connector: the features of key frames query all tokens of the clip by one cross attention."""

import math

import torch
from torch import nn
from torch.nn import functional

from .clip_vip_tower import stretch


class TokenMining(nn.Module):
    """Every key frame's rows see all of the clip's tokens.

    Structures are `dual_projector` (the released one), `two_linear` and `one_linear`, and `grid_pooling`, which asks
    nothing and averages patches on a grid; modules have the names of the original's `token_mining.bin`. The options
    that the original lacks have names of their own: `key_positions`, `value_positions`, `final_norm`.
    """

    def __init__(
        self,
        video_config: dict,
        width_frames: int,
        width_out: int,
        structure: str = "dual_projector",
        tokens_per_frame: int = 32,
        expansion: str = "reinterpret",
        final_relu: bool = True,
        final_norm: bool = False,
        positions: bool = False,
        num_heads: int = 1,
        residual: bool = False,
    ):
        super().__init__()
        width_video = video_config["width"]
        self.expansion, self.expands, self.pools = expansion, structure == "dual_projector", structure == "grid_pooling"
        self.tokens_per_frame, self.num_heads, self.residual = tokens_per_frame, num_heads, residual
        self.num_proxy_tokens = video_config["num_proxy_tokens"]
        self.patch_side = video_config["image_size"] // video_config["patch_size"]
        if self.expands:
            self.CLIP_VIP_projector = nn.Sequential(nn.Linear(width_video, width_video), nn.ReLU())
            self.LongCLIP_projector = nn.Sequential(nn.Linear(1, tokens_per_frame), nn.ReLU())
        if not self.pools:
            self.query_projector = _norm_linear(width_frames, width_frames)
            self.key_projector = _norm_linear(width_video, width_frames)
        self.val_projector = _norm_linear(width_video, width_frames)
        if positions:
            if not self.pools:
                self.key_positions = PositionEmbeddings(video_config, width_frames)
            self.value_positions = PositionEmbeddings(video_config, width_frames)
        layers = [nn.LayerNorm(width_frames), nn.Linear(width_frames, width_out)]
        if structure != "one_linear":
            layers += [nn.ReLU(), nn.Linear(width_out, width_out)]
        self.tokenizer_projector = nn.Sequential(*layers, *([nn.ReLU()] if final_relu else []))
        self.final_norm = nn.LayerNorm(width_out) if final_norm else nn.Identity()

    def forward(self, clip_tokens: torch.Tensor, frame_features: torch.Tensor) -> torch.Tensor:
        """Mines rows.

        Args:
          clip_tokens: [clips, S, D], all tokens of the video tower, proxies first.
          frame_features: [clips, K, E] of the key frames.

        Returns:
          [clips, V, width of the language model], key frame by key frame.
        """
        queries = frame_features
        if self.expands:
            clip_tokens = self.CLIP_VIP_projector(clip_tokens)
            queries = self._expand(self.LongCLIP_projector(frame_features.unsqueeze(-1)))
        v = self.val_projector(clip_tokens)
        if hasattr(self, "value_positions"):
            v = v + self.value_positions(v.shape[1])
        if self.pools:
            queries = frame_features.repeat_interleave(self.tokens_per_frame, dim=1)
            mined = self._pool(v, frame_features.shape[1])
        else:
            mined = self._attend(queries, clip_tokens, v)
        if self.residual:
            mined = mined + queries
        return self.final_norm(self.tokenizer_projector(mined))

    def _attend(self, queries: torch.Tensor, clip_tokens: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The cross attention [clips, V, E]."""
        k = self.key_projector(clip_tokens)
        if hasattr(self, "key_positions"):
            k = k + self.key_positions(k.shape[1])
        heads = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (self.query_projector(queries), k, v))
        q, k, v = heads
        scores = (q @ (k * k.shape[-1] ** -0.5).transpose(-1, -2)).float()
        # The original trains in float16, where a product may overflow: NaN to 0, infinity to the largest number.
        weights = torch.nan_to_num(scores).softmax(-1).to(v.dtype)
        return (weights @ v).transpose(1, 2).flatten(2)

    def _pool(self, v: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Means [clips, V, E] over a grid of `num_frames` frames."""
        side = math.isqrt(self.tokens_per_frame)
        patches = v[:, self.num_proxy_tokens :].transpose(1, 2).unflatten(2, (-1, self.patch_side, self.patch_side))
        return functional.adaptive_avg_pool3d(patches, (num_frames, side, side)).flatten(2).transpose(1, 2)

    def _expand(self, features: torch.Tensor) -> torch.Tensor:
        """Lays [clips, K, E, count] out as [clips, K * count, E].

        `reinterpret`, the released way, is a view of the same memory: a row holds all values of a few channels rather
        than one value of each, which `transpose` gives. The released weights need it so.
        """
        clips, frames, width, count = features.shape
        if self.expansion == "transpose":
            features = features.transpose(2, 3)
        return features.reshape(clips, frames * count, width)


class PositionEmbeddings(nn.Module):
    """A row for each frame, row and column of patches; a patch takes their sum, a proxy token none."""

    def __init__(self, video_config: dict, width: int):
        super().__init__()
        side = video_config["image_size"] // video_config["patch_size"]
        self.num_proxy_tokens = video_config["num_proxy_tokens"]
        self.frame = nn.Parameter(torch.zeros(video_config["num_frames"], width))
        self.row, self.column = (nn.Parameter(torch.zeros(side, width)) for _ in range(2))

    def forward(self, num_tokens: int) -> torch.Tensor:
        """The embeddings [S, width] of so many tokens."""
        side = len(self.row)
        frame = stretch(self.frame[None], (num_tokens - self.num_proxy_tokens) // side**2)[0]
        patches = frame[:, None, None] + self.row[:, None] + self.column
        return functional.pad(patches.flatten(0, 2), (0, 0, self.num_proxy_tokens, 0))


def _norm_linear(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width_in), nn.Linear(width_in, width_out))
