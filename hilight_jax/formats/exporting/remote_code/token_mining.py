"""Token mining, HiLight's connector: the features of key frames query all tokens of the clip by one cross attention."""

import torch
from torch import nn


class TokenMining(nn.Module):
    """One head, no residual; every key frame's rows see all of the clip's tokens.

    Structures are `dual_projector` (the released one), `two_linear` and `one_linear`; modules have the names of the
    original's `token_mining.bin`.
    """

    def __init__(
        self,
        width_video: int,
        width_frames: int,
        width_out: int,
        structure: str = "dual_projector",
        tokens_per_frame: int = 32,
        expansion: str = "reinterpret",
        final_relu: bool = True,
    ):
        super().__init__()
        self.expansion, self.expands = expansion, structure == "dual_projector"
        if self.expands:
            self.CLIP_VIP_projector = nn.Sequential(nn.Linear(width_video, width_video), nn.ReLU())
            self.LongCLIP_projector = nn.Sequential(nn.Linear(1, tokens_per_frame), nn.ReLU())
        self.query_projector = _norm_linear(width_frames, width_frames)
        self.key_projector = _norm_linear(width_video, width_frames)
        self.val_projector = _norm_linear(width_video, width_frames)
        layers = [nn.LayerNorm(width_frames), nn.Linear(width_frames, width_out)]
        if structure != "one_linear":
            layers += [nn.ReLU(), nn.Linear(width_out, width_out)]
        self.tokenizer_projector = nn.Sequential(*layers, *([nn.ReLU()] if final_relu else []))

    def forward(self, clip_tokens: torch.Tensor, frame_features: torch.Tensor) -> torch.Tensor:
        """Mines rows.

        Args:
          clip_tokens: [clips, S, D], all tokens of the video tower, proxies first.
          frame_features: [clips, K, E] of the key frames.

        Returns:
          [clips, V, width of the language model], key frame by key frame.
        """
        frames = frame_features
        if self.expands:
            clip_tokens = self.CLIP_VIP_projector(clip_tokens)
            frames = self._expand(self.LongCLIP_projector(frames.unsqueeze(-1)))
        q, k, v = self.query_projector(frames), self.key_projector(clip_tokens), self.val_projector(clip_tokens)
        scores = (q @ (k * k.shape[-1] ** -0.5).transpose(-1, -2)).float()
        # The original trains in float16, where a product may overflow: NaN to 0, infinity to the largest number.
        weights = torch.nan_to_num(scores).softmax(-1).to(v.dtype)
        return self.tokenizer_projector(weights @ v)

    def _expand(self, features: torch.Tensor) -> torch.Tensor:
        """Lays [clips, K, E, count] out as [clips, K * count, E].

        `reinterpret`, the released way, is a view of the same memory: a row holds all values of a few channels rather
        than one value of each, which `transpose` gives. The released weights need it so.
        """
        clips, frames, width, count = features.shape
        if self.expansion == "transpose":
            features = features.transpose(2, 3)
        return features.reshape(clips, frames * count, width)


def _norm_linear(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width_in), nn.Linear(width_in, width_out))
