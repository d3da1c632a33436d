"""Word tracks: words carry where the clips before them show what they name, and each listed thing has a row.

The map of a phrase over the patches of a frame points at the thing that it names. Seven numbers of each frame's map,
its track, go through an MLP: added to the embeddings of the phrase's words, and, for each thing of the list, to the
mean embedding of its name, in a row behind the mined ones.
"""

import torch
from torch import nn
from torch.nn import functional

from .clip_vip_tower import Block, ClipVipTower
from .local_heads import LocalHeads, TextAttention, TextTower, tapped_patches, tapped_tokens

# Strength and mean of the map, x and y of the peak, spread, step in x and in y.
NUMBERS = 7
# Factors that bring the standard deviation of each to about one.
GAINS = (6.0, 10.0, 2.4, 2.4, 4.0, 4.0, 4.0)


class WordTracks(nn.Module):
    """The encoder's text tower and local heads, and the maps from tracks to vectors of the language model.

    `config` is `HiLightConfig.word_config`; `width` is that of the language model.
    """

    def __init__(self, config: dict, video_config: dict, width: int):
        super().__init__()
        self.config, text = config, config["text_config"]
        self.columns = video_config["image_size"] // video_config["patch_size"]
        levels, widths = [level for level, _ in config["level_pairs"]], (video_config["width"], text["width"])
        self.text_model = TextTower(**text)
        self.local = LocalHeads(levels, config["local_head"], config["center_video"], *widths, config["embed_dim"])
        track = config["num_frames"] * (NUMBERS + 4 * config["octaves"])
        found = sum(weight > 0 for weight in config["level_weights"]) * config["embed_dim"]
        self.word_mlp = TrackMlp(track, config["hidden"], width)
        self.thing_mlp = TrackMlp(track + found, config["hidden"], width)
        if config["relation_layers"]:
            layers, heads = config["relation_layers"], config["relation_heads"]
            self.relations = Relations(track + found, config["hidden"], width, layers, heads)
        self.clip_embedding = nn.Parameter(torch.zeros(config["max_clips"], config["hidden"]))

    def patches(self, tower: ClipVipTower, states: list[torch.Tensor], num_frames: int) -> torch.Tensor:
        """Unit vectors [clips, F, P, E] to compare phrases with, from the hidden states of the video tower."""
        if num_frames != self.config["num_frames"]:
            raise ValueError(
                f"clips have {num_frames} frames, but tracks of words are read over {self.config['num_frames']}; take "
                f"pixel_values_videos from the processor."
            )
        return self._join(self.local.map_video(tapped_patches(tower, states, self.local.levels, num_frames)))

    def phrases(self, ids: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
        """Vectors [W, E] of phrases in CLIP's ids [W, L]; `content` marks the tokens that name something visible."""
        tokens, states = self.text_model(ids, ids > 0)
        levels = [level for _, level in self.config["level_pairs"]]
        local = self._join(self.local.map_text(tapped_tokens(tokens, states, levels, self.config["local_text_side"])))
        weights = content.float() / content.sum(1, keepdim=True).clamp(min=1)
        return torch.einsum("wle,wl->we", local, weights)

    def thing_rows(self, patches: torch.Tensor, embed) -> torch.Tensor:
        """Rows [clips, O, D] of the listed things; `embed` looks up the embeddings of the language model."""
        names, ids, content = (
            torch.tensor(self.config[name], device=patches.device)
            for name in ("thing_ids", "thing_phrase_ids", "thing_content")
        )
        maps = self._maps(patches, self.phrases(ids, content))
        tracks = measure_tracks(maps, self.columns, self.config["sharpness"])
        best = maps.flatten(2).argmax(-1)
        found = patches.flatten(1, 2).gather(1, best.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        real = (names > 0).unsqueeze(-1)
        mean = (embed(names) * real).sum(1) / real.sum(1).clamp(min=1)
        if self.config["octaves"]:
            found = found * found.shape[-1] ** 0.5
        seen = torch.cat([read_tracks(tracks, self.config["octaves"]), found], -1)
        rows = mean + self.thing_mlp(seen)
        return rows + self.relations(mean, seen) if self.config["relation_layers"] else rows

    def carried(
        self,
        patches: torch.Tensor,
        phrase_ids: torch.Tensor,
        phrase_content: torch.Tensor,
        word_rows: torch.Tensor,
        is_video: torch.Tensor,
        rows_of_clip: int,
    ) -> torch.Tensor:
        """The vector that each row carries, [B, L, D]: for words of a phrase the sum over the clips before them.

        Args:
          patches: [clips, F, P, E], of all clips of the batch, sample after sample.
          phrase_ids: [W, phrase length], the phrases of the batch in CLIP's ids.
          phrase_content: [W, phrase length], their tokens that name something visible.
          word_rows: [B, L], number of the phrase (from 1) that a row is part of, 0 for none.
          is_video: [B, L], True on rows of clips.
          rows_of_clip: V, the rows of each clip.
        """
        tracks = measure_tracks(
            self._maps(patches, self.phrases(phrase_ids, phrase_content > 0)), self.columns, self.config["sharpness"]
        )
        numbers = read_tracks(tracks, self.config["octaves"])
        shown, number = is_video.cumsum(1) // rows_of_clip, (word_rows - 1).clamp(min=0)
        carried = self.clip_embedding.new_zeros(*word_rows.shape, self.word_mlp.fc2.out_features)
        for sample, of_sample in enumerate(numbers.split(shown[:, -1].tolist())):
            if len(of_sample) > len(self.clip_embedding):
                raise ValueError(
                    f"a conversation has {len(of_sample)} clips, but words tell {len(self.clip_embedding)} apart; ask "
                    f"about fewer."
                )
            vectors = self.word_mlp(of_sample, self.clip_embedding[: len(of_sample), None])
            for clip, of_clip in enumerate(vectors):
                where = (word_rows[sample] > 0) & (shown[sample] > clip)
                carried[sample] += of_clip[number[sample]] * where.unsqueeze(-1)
        return carried

    def _maps(self, patches: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """The similarity of every phrase to every patch, [clips, W, F, P]."""
        return torch.einsum("we,cfpe->cwfp", vectors, patches)

    def _join(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Unit vectors of all levels in a row, so that one product is the weighted mean of the levels' cosines."""
        pairs = zip(self.config["level_weights"], levels, strict=True)
        return torch.cat([weight**0.5 * functional.normalize(x, dim=-1) for weight, x in pairs if weight], -1)


class TrackMlp(nn.Module):
    """A GELU layer and a linear map."""

    def __init__(self, width_in: int, hidden: int, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width_in, hidden), nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor, shift: torch.Tensor | float = 0.0) -> torch.Tensor:
        """Maps each track by itself; `shift` is added before the GELU."""
        x = self.fc1(x.to(self.fc1.weight.dtype)) + shift
        return self.fc2(functional.gelu(x, approximate="tanh"))


class Relations(nn.Module):
    """Attention among the things of a clip: what each thing's row carries of the others."""

    def __init__(self, width_in: int, hidden: int, width: int, layers: int, heads: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width_in, hidden), nn.Linear(hidden, width)
        self.name_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers = nn.ModuleList(Block(TextAttention(width, heads), width, 2 * width) for _ in range(layers))
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, names: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Mixes [clips, O, D], from the names of the things [O, D] and what is seen of them [clips, O, numbers]."""
        x = functional.gelu(self.fc1(seen.to(self.fc1.weight.dtype)), approximate="tanh")
        x = self.fc2(x) + self.name_norm(names)
        for layer in self.layers:
            x = layer(x, 0.0)
        return self.out(self.norm(x))


def read_tracks(tracks: torch.Tensor, octaves: int) -> torch.Tensor:
    """The numbers of all frames in a row [..., F * n], places as waves too; without octaves as they are."""
    if octaves:
        angles = tracks[..., 2:4, None] * (torch.pi / 2 * 2.0 ** torch.arange(octaves, device=tracks.device))
        waves = torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
        tracks = torch.cat([tracks * tracks.new_tensor(GAINS), waves], -1)
    return tracks.flatten(-2)


def measure_tracks(maps: torch.Tensor, columns: int, sharpness: float) -> torch.Tensor:
    """The numbers of each frame's map, [..., F, 7] from [..., F, P].

    The place of a peak, from -1 (left, top) to 1, is the mean of its patch and the neighbours, weighted by what each
    has above the mean of the map.
    """
    rows, number = maps.shape[-1] // columns, torch.arange(maps.shape[-1], device=maps.device)
    column, row = number % columns, number // columns
    centres = torch.stack([(2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1], -1).to(maps.dtype)
    best, mean, strength = maps.argmax(-1, keepdim=True), maps.mean(-1), maps.amax(-1)
    near = ((column - best % columns).abs() <= 1) & ((row - best // columns).abs() <= 1)
    place = _centre((maps - mean.unsqueeze(-1)).clamp(min=0) * near + 1e-6 * (number == best), centres)
    weights = torch.exp(sharpness * (maps - strength.unsqueeze(-1)))
    variance = _centre(weights, centres**2) - _centre(weights, centres) ** 2
    spread = variance.sum(-1).clamp(min=0).sqrt()
    step = torch.diff(place, dim=-2, prepend=place[..., :1, :])
    return torch.cat([torch.stack([strength, mean], -1), place, spread.unsqueeze(-1), step], -1)


def _centre(weights: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return weights @ points / weights.sum(-1, keepdim=True)
