"""CLIP-ViP's video tower (arXiv 2209.06430) on torch: a CLIP ViT with proxy tokens and proxy-guided attention.

Tokens are `[cls, added_cls..., patches]`, patches frame by frame and row-major in a frame. With one proxy token, no
temporal embedding and clips of one frame this is CLIP's image tower. Modules have the names of the original's files.
"""

import torch
from torch import nn
from torch.nn import functional


class ClipVipTower(nn.Module):
    """The video encoder; the cls token counts as a proxy token.

    `num_frames` are the rows of the temporal embedding, which is interpolated for clips of another length.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        width: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_dim: int = 3072,
        num_frames: int = 12,
        num_proxy_tokens: int = 4,
        temporal_embedding: bool = True,
    ):
        super().__init__()
        num_patches = (image_size // patch_size) ** 2
        self.embeddings = Embeddings(
            num_patches, patch_size, width, num_frames if temporal_embedding else 0, num_proxy_tokens
        )
        self.pre_layrnorm = nn.LayerNorm(width)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(Block(Attention(width, num_heads), width, mlp_dim) for _ in range(depth))
        self.post_layernorm = nn.LayerNorm(width)

    def forward(self, pixel_values: torch.Tensor):
        """Encodes clips.

        Args:
          pixel_values: [B, F, 3, H, W], normalised; any frame with as many patches as the position table.

        Returns:
          All tokens [B, M + F * P, D] without the post norm, the cls token after it [B, D], and the hidden states: the
          embeddings after the pre norm and each block's output.
        """
        num_frames = pixel_values.shape[1]
        x = self.pre_layrnorm(self.embeddings(pixel_values))
        states = [x]
        for layer in self.encoder.layers:
            x = layer(x, self.embeddings.num_proxy_tokens, num_frames)
            states.append(x)
        return x, self.post_layernorm(x[:, 0]), states


class Embeddings(nn.Module):
    """Pixels to tokens; cls and added_cls share position 0, patches alone get a temporal embedding (if `num_times`)."""

    def __init__(self, num_patches: int, patch_size: int, width: int, num_times: int, num_proxy_tokens: int):
        super().__init__()
        self.num_proxy_tokens, self.num_patches = num_proxy_tokens, num_patches
        self.class_embedding = nn.Parameter(torch.zeros(width))
        if num_proxy_tokens > 1:
            self.added_cls = nn.Parameter(torch.zeros(num_proxy_tokens - 1, width))
        self.patch_embedding = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.position_embedding = nn.Embedding(num_patches + 1, width)
        if num_times:
            self.temporal_embedding = nn.Parameter(torch.zeros(1, num_times, width))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Returns [B, M + F * P, D], before any norm."""
        batch, frames = pixel_values.shape[:2]
        kernel = self.patch_embedding.weight
        patches = self.patch_embedding(pixel_values.flatten(0, 1).to(kernel.dtype)).flatten(2).transpose(1, 2)
        if patches.shape[1] != self.num_patches:
            raise ValueError(
                f"frames of {tuple(pixel_values.shape[-2:])} pixels have {patches.shape[1]} patches, but this tower "
                f"takes {self.num_patches}; resize them."
            )
        position = self.position_embedding.weight
        patches = (patches + position[1:]).unflatten(0, (batch, frames))
        if hasattr(self, "temporal_embedding"):
            patches = patches + stretch(self.temporal_embedding, frames)[:, :, None]
        proxies = self.class_embedding[None]
        if self.num_proxy_tokens > 1:
            proxies = torch.cat([proxies, self.added_cls])
        proxies = (proxies + position[0]).expand(batch, -1, -1)
        return torch.cat([proxies, patches.flatten(1, 2)], dim=1)


def stretch(table: torch.Tensor, num_frames: int) -> torch.Tensor:
    """Embeddings of frames [1, rows, D] for so many frames: linear between half-pixel centres, not antialiased."""
    if table.shape[1] == num_frames:
        return table
    return functional.interpolate(table.transpose(1, 2), num_frames, mode="linear", align_corners=False).transpose(1, 2)


class Block(nn.Module):
    """Attention and MLP, each behind a norm."""

    def __init__(self, attention: nn.Module, width: int, mlp_dim: int):
        super().__init__()
        self.self_attn = attention
        self.layer_norm1 = nn.LayerNorm(width)
        self.mlp = Mlp(width, mlp_dim)
        self.layer_norm2 = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, *attention_args) -> torch.Tensor:
        """Runs the block on tokens [B, S, D]."""
        x = x + self.self_attn(self.layer_norm1(x), *attention_args)
        return x + self.mlp(self.layer_norm2(x))


class Attention(nn.Module):
    """Proxy-guided: a patch sees the proxy tokens and its own frame, a proxy token sees everything."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def heads(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Queries, keys and values, each [B, N, S, H]."""
        maps = (self.q_proj, self.k_proj, self.v_proj)
        return [proj(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for proj in maps]

    def forward(self, x: torch.Tensor, num_proxy_tokens: int, num_frames: int) -> torch.Tensor:
        """Mixes [B, M + F * P, D]."""
        q, k, v = self.heads(x)
        cut = num_proxy_tokens
        proxies = functional.scaled_dot_product_attention(q[:, :, :cut], k, v)
        by_frame = [y[:, :, cut:].unflatten(2, (num_frames, -1)) for y in (q, k, v)]
        shared = [y[:, :, None, :cut].expand(-1, -1, num_frames, -1, -1) for y in (k, v)]
        k, v = (torch.cat([a, b], dim=3) for a, b in zip(shared, by_frame[1:], strict=True))
        patches = functional.scaled_dot_product_attention(by_frame[0], k, v).flatten(2, 3)
        return self.out_proj(torch.cat([proxies, patches], dim=2).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear maps with a quick GELU between."""

    def __init__(self, width: int, mlp_dim: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, mlp_dim), nn.Linear(mlp_dim, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps every token by itself."""
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))
