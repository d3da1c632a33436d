"""Local heads: tower features of the tapped levels, mapped into one shared width for the local loss.

HiLight's report taps the towers "before the projector", where they have different widths. Each tapped level therefore
gets its own pair of bias-free linear maps into the shared width, used by nothing else. Choices that the report leaves
open are named in the docstrings.

Letters: B batch, F frames, P patches of a frame, L text length, D width of a tower, E shared embedding width.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.sharding import Rule
from hilight_jax.core.trees import Tree, flatten, unflatten
from hilight_jax.models.clip_vip import VideoTower
from hilight_jax.models.layers import ComputeConfig, layer_norm, projection
from hilight_jax.ops.vectors import at_least_float32, unit

# Paths below ``local``.
LOCAL_PARTITION_RULES: tuple[Rule, ...] = (
    (r"(video|text)_\d+/kernel", ("fsdp", None)),
    (r"video_\d+/fc1/kernel", ("fsdp", None)),
    (r"video_\d+/fc2/kernel", (None, "fsdp")),
    (r"video_\d+/norm/(scale|bias)", ()),
    (r"video_\d+/fc1/bias", ()),
    (r"scale", ()),
)


@dataclasses.dataclass(frozen=True)
class LocalHeadsConfig:
    """The tapped levels and their heads.

    Attributes:
      levels: ``last`` (after the last block and the post/final norm: the report's settings 1 and 2), ``embedding``
        (after ``pre_layernorm``, and token + position embeddings: setting 3), both, or ``all`` (every block's output,
        the last with its norm: setting 4). Empty: no local heads.
      head: ``linear``, or ``mlp``: the video side of the embedding level, whose features are linear in the pixels, gets
        LayerNorm, a small GELU layer and the linear map. Deeper levels are linear in either case.
      text_side: ``same`` level as the video side, or always the ``embedding`` level.
      center_video: Take each clip's mean over its patches from the features of every level above the embeddings, where
        the proxy tokens have spread the whole clip into every patch.
      rising: The levels of ``all`` count the more the deeper they are, as the report has it, else all alike.
    """

    levels: tuple[Literal["embedding", "last", "all"], ...] = ("last",)
    head: Literal["linear", "mlp"] = "linear"
    text_side: Literal["same", "embedding"] = "same"
    center_video: bool = False
    rising: bool = True

    def __post_init__(self):
        """Checks the combination of levels."""
        if self.levels not in ((), ("embedding",), ("last",), ("embedding", "last"), ("all",)):
            raise ConfigError(
                f"local.levels is {self.levels!r}, but must be (), ('embedding',), ('last',), ('embedding', 'last') or "
                f"('all',)."
            )
        if not self.rising and self.levels != ("all",):
            raise ConfigError(
                f"local.rising is False, which is about levels ('all',), but local.levels is {self.levels!r}; leave it "
                f"True."
            )
        if self.head == "mlp" and "embedding" not in self.levels:
            raise ConfigError("local.head is 'mlp', which acts on the 'embedding' level only; add it to local.levels.")


def level_pairs(levels: tuple[str, ...], video_depth: int, text_depth: int) -> tuple[tuple[int, int], ...]:
    """Pairs of tapped levels ``(video, text)``: 0 is the embeddings, ``k`` the output of block ``k``.

    Towers of unequal depth are paired by nearest relative depth: level ``k`` of the deeper one, of ``n``, goes with
    level ``round(k * m / n)`` (at least 1, halves up) of the shallower one, of ``m``; the last blocks go together.
    """
    if levels == ("all",):
        deepest = max(video_depth, text_depth)

        def at(level, depth):
            return max(1, (2 * level * depth + deepest) // (2 * deepest))

        return tuple((at(k, video_depth), at(k, text_depth)) for k in range(1, deepest + 1))
    ends = {"embedding": (0, 0), "last": (video_depth, text_depth)}
    return tuple(ends[level] for level in levels)


def level_weights(config: LocalHeadsConfig, video_depth: int, text_depth: int) -> tuple[float, ...]:
    """Weight of each tapped level in the local loss; they sum to 1.

    ``all`` (setting 4) rises linearly from 0.1 to 1 with depth before it is divided by its sum; other levels are even.
    """
    count = len(level_pairs(config.levels, video_depth, text_depth))
    weights = [1.0] * count
    if config.levels == ("all",) and config.rising:
        weights = [0.1 + 0.9 * k / max(count - 1, 1) for k in range(count)]
    return tuple(weight / sum(weights) for weight in weights)


def map_weights(config: LocalHeadsConfig, video_depth: int, text_depth: int) -> tuple[float, ...]:
    """Weight of each tapped level in a word's map over the patches.

    Where the embeddings are tapped they are the map: deeper patches have seen the whole clip through the proxy tokens
    and point badly, however well they retrieve. Else the levels count as in the loss.
    """
    if "embedding" in config.levels:
        return tuple(float(level == "embedding") for level in config.levels)
    return level_weights(config, video_depth, text_depth) or (1.0,)


def map_features(levels: Sequence[Float[Array, "*B E"]], weights: Sequence[float]) -> Float[Array, "*B E_all"]:
    """Joins the unit vectors of a map's levels, so that one product is the weighted mean of the levels' cosines.

    The vectors of a level are scaled by the square root of its weight, on either side; levels of weight 0 are left out.
    """
    used = [(weight, unit(at_least_float32(x))) for weight, x in zip(weights, levels, strict=True) if weight]
    return jnp.concatenate([weight**0.5 * x for weight, x in used], axis=-1)


def tapped_patches(
    tower: VideoTower, out: Mapping[str, Any], levels: Sequence[int], num_frames: int
) -> tuple[Float[Array, "B F P D"], ...]:
    """The patches that a video tower's ``out`` holds at each tapped level; the last block's pass the post norm."""
    config = tower.config

    def patches(level: int) -> Array:
        if level == 0:
            x = out["embeddings"]
        elif level < config.depth:
            x = out["outputs"][level - 1]
        else:
            x = tower.norm(out["tokens"])
        x = x[:, config.num_proxy_tokens :]
        return x.reshape(x.shape[0], num_frames, -1, config.width)

    return tuple(patches(level) for level in levels)


def tapped_tokens(
    out: Mapping[str, Any], levels: Sequence[int], depth: int, text_side: str
) -> tuple[Float[Array, "B L D"], ...]:
    """The tokens that a text tower's ``out`` holds at each tapped level, or its embeddings at every one."""

    def tokens(level: int) -> Array:
        if level == 0 or text_side == "embedding":
            return out["embeddings"]
        return out["tokens"] if level == depth else out["outputs"][level - 1]

    return tuple(tokens(level) for level in levels)


class MlpHead(nn.Module):
    """LayerNorm, a GELU layer of twice the shared width, and a bias-free linear map."""

    embed_dim: int
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """Maps every patch by itself."""
        x = layer_norm(self.compute, "norm")(x)
        x = nn.gelu(nn.Dense(2 * self.embed_dim, name="fc1", **self.compute.dtypes)(x))
        return projection(self.embed_dim, 2 * self.embed_dim, self.compute, "fc2")(x)


class LocalHeads(nn.Module):
    """One pair of maps per tapped level, and the local loss's own learnable (log) scale."""

    config: LocalHeadsConfig
    pairs: tuple[tuple[int, int], ...]
    video_width: int
    text_width: int
    embed_dim: int
    scale_init: float
    compute: ComputeConfig

    def setup(self):
        """Names the maps ``video_0``, ``text_0``, ... in the order of the levels."""
        self.video = [self._video_head(level) for level, _ in self.pairs]
        self.text = [projection(self.embed_dim, self.text_width, self.compute) for _ in self.pairs]
        dtype = self.compute.dtypes["param_dtype"]
        self.scale = self.param("scale", nn.initializers.constant(self.scale_init), (), dtype)

    def map_video(self, features: tuple[Float[Array, "B F P D"], ...]) -> tuple[Float[Array, "B F P E"], ...]:
        """Maps the patch features of every pair, in float32 at least and not normalised."""
        mapped = []
        for (level, _), head, x in zip(self.pairs, self.video, features, strict=True):
            if self.config.center_video and level > 0:
                x = x - x.mean((1, 2), keepdims=True)
            mapped.append(at_least_float32(head(x)))
        return tuple(mapped)

    def map_text(self, features: tuple[Float[Array, "B L D"], ...]) -> tuple[Float[Array, "B L E"], ...]:
        """Maps the token features of every pair, in float32 at least and not normalised."""
        return tuple(at_least_float32(head(x)) for head, x in zip(self.text, features, strict=True))

    def _video_head(self, level: int) -> nn.Module:
        if level == 0 and self.config.head == "mlp":
            return MlpHead(self.embed_dim, self.compute)
        return projection(self.embed_dim, self.video_width, self.compute)


def init_local_from_projections(params: Tree) -> Tree:
    """Returns ``params`` with every linear local head set to CLIP's projector of its side, where the shapes agree.

    Call it after initialising or importing a dual encoder's parameters; without local heads nothing changes.
    """
    flat = flatten(params)
    for side, projector in (("video", "visual_projection/kernel"), ("text", "text_projection/kernel")):
        for path, leaf in flat.items():
            head = path.startswith(f"local/{side}_") and path.count("/") == 2 and path.endswith("/kernel")
            if head and leaf.shape == flat[projector].shape:
                flat[path] = jax.tree.map(jnp.array, flat[projector])
    return unflatten(flat)
