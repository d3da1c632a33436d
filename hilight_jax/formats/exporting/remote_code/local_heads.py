"""CLIP's text tower and the local heads, which map words and the patches of a clip into one space."""

import torch
from torch import nn
from torch.nn import functional

from .clip_vip_tower import Attention, Block, ClipVipTower


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

    def __init__(
        self, levels: list[int], head: str, center_video: bool, video_width: int, text_width: int, embed_dim: int
    ):
        """Takes the tapped levels of the video tower; `head` is `mlp` or `linear`, that of level 0."""
        super().__init__()
        self.levels, self.center_video = levels, center_video
        for i, level in enumerate(levels):
            mlp = level == 0 and head == "mlp"
            video = MlpHead(video_width, embed_dim) if mlp else nn.Linear(video_width, embed_dim, bias=False)
            self.add_module(f"video_{i}", video)
            self.add_module(f"text_{i}", nn.Linear(text_width, embed_dim, bias=False))
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


def tapped_patches(
    tower: ClipVipTower, states: list[torch.Tensor], levels: list[int], num_frames: int
) -> list[torch.Tensor]:
    """The patches [B, F, P, D] of each level, from the hidden states of a video tower; the last pass its post norm."""
    last, cut = len(states) - 1, tower.embeddings.num_proxy_tokens
    outputs = [tower.post_layernorm(states[level]) if level == last else states[level] for level in levels]
    return [x[:, cut:].unflatten(1, (num_frames, -1)) for x in outputs]


def tapped_tokens(
    tokens: torch.Tensor, states: list[torch.Tensor], levels: list[int], text_side: str
) -> list[torch.Tensor]:
    """The tokens [B, L, D] of each level, from the output of a text tower; of the embeddings if `text_side` is so."""
    levels = [0 if text_side == "embedding" else level for level in levels]
    return [tokens if level == len(states) - 1 else states[level] for level in levels]
