"""Word tracks: a second way from a clip to the language model, in which a word carries where its thing was seen.

The local loss (losses/local.py) makes the vector of a word similar to the patches that show what it names. So a word's
cosine map over the patches of a frame points at the thing, and a few numbers of the map, frame by frame, are its
*track*: how strong the peak is, where it lies, how far it moved. Mined video tokens are convex means of patches, which
keep what is there and lose where; tracks keep where. They enter the language model twice:

* in the words: an MLP of the track is added to the embeddings of the words that name the thing;
* as tokens: for each *thing* of the domain's list a row of its own beside the mined ones, an MLP of its track and of
  the local feature found there, added to the mean of the language model's own embeddings of the thing's name.

The MLPs read places as waves too (``octaves``), and the things of a clip may attend to each other before they are rows
(``relation_layers``). All that is added starts as zero, so a pretrained language model reads the text that it knows.

Letters: B batch, U clips of a conversation, F frames, P patches of a frame, L text length, D width of the language
model, E width of the local features; W words that name something in a conversation (a phrase such as "red ball" is one
of them), O things of the domain's list, T numbers of a track in one frame, see ``TRACK``.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.config import check
from hilight_jax.core.sharding import Rule
from hilight_jax.models.layers import ENCODER_PARTITION_RULES, ComputeConfig, Encoder, check_sizes, layer_norm
from hilight_jax.ops.attention import attention, over_heads
from hilight_jax.ops.peaks import centre, patch_centres, peak_places
from hilight_jax.ops.vectors import PRECISION, at_least_float32, unit

# A track's numbers in one frame: the cosine at the peak and the mean of the map; the place of the peak (ops/peaks.py),
# from -1 (left, top) to 1 (right, bottom); the standard deviation of the map's softmax about its centre, on the same
# scale; the step of the place since the frame before, 0 in the first.
TRACK = ("strength", "mean", "x", "y", "spread", "step_x", "step_y")
# Factors that bring the standard deviation of each number to one, as measured on the demo's encoder.
_GAINS = (6.0, 10.0, 2.4, 2.4, 4.0, 4.0, 4.0)
_PLACE = slice(TRACK.index("x"), TRACK.index("y") + 1)

# Paths below the module.
WORD_TRACKS_PARTITION_RULES: tuple[Rule, ...] = (
    # The numbers of a track, the first maps' inputs, divide by nothing in particular.
    (r"((word|thing)_mlp|relations)/fc1/kernel", (None, "fsdp")),
    (r"((word|thing)_mlp|relations)/fc2/kernel", ("fsdp", None)),
    (r"(word|thing)_mlp/fc[12]/bias", ()),
    (r"clip_embedding", ()),
    *((f"relations/{path}", spec) for path, spec in ENCODER_PARTITION_RULES),
    (r"relations/(name_norm|norm)/(scale|bias)", ()),
    (r"relations/fc[12]/bias", ()),
    (r"relations/out/kernel", (None, "fsdp")),
)


@dataclasses.dataclass(frozen=True)
class WordTracksConfig:
    """Sizes of the word tracks.

    Attributes:
      num_frames: F, frames of a clip; an MLP reads the tracks of all of them.
      embed_dim: E, width of the encoder's local features.
      hidden: Width of the MLPs' hidden layer.
      max_clips: Clips of a conversation that a word can tell apart.
      sharpness: Inverse temperature of the softmax that a map's spread is measured on.
      octaves: Number of frequencies, pi / 2, pi, 2 pi, ..., at which x and y are read as sine and cosine too. A network
        of plain coordinates learns slowly where two places are near each other (Fourier features, arXiv 2006.10739).
        With octaves, the numbers of a track and the feature found are also scaled to a standard deviation of about
        one; 0 reads them as they are.
      relation_layers: Layers in which the things of a clip attend to each other, before they are rows of the language
        model: in its causal order a row sees none of the things behind it. 0 leaves them as they are.
      relation_heads: Heads of these layers.
    """

    num_frames: int = 12
    embed_dim: int = 512
    hidden: int = 256
    max_clips: int = 8
    sharpness: float = 20.0
    octaves: int = 0
    relation_layers: int = 0
    relation_heads: int = 4

    def __post_init__(self):
        """Checks the sizes."""
        check_sizes("word_tracks", self, ("num_frames", "embed_dim", "hidden", "max_clips", "relation_heads"))
        check(self, "word_tracks.", lambda x: x >= 0, "at least 0", "octaves", "relation_layers")
        check(self, "word_tracks.", lambda x: x > 0, "greater than 0; 20 is usual", "sharpness")


class WordInputs(NamedTuple):
    """The tracks of a batch of conversations, and the rows that they go to.

    Attributes:
      thing_ids: [B, O, ids], the language model's ids of the things' names, padded with 0.
      thing_tracks: [B, U, O, F, T], of each clip.
      thing_features: [B, U, O, E], the local feature found at each thing's strongest peak.
      word_rows: [B, L], number of the word (from 1) that a row is part of; 0 for none.
      word_tracks: [B, U, W, F, T], of each clip.
    """

    thing_ids: Int[Array, "B O ids"]
    thing_tracks: Float[Array, "B U O F T"]
    thing_features: Float[Array, "B U O E"]
    word_rows: Int[Array, "B L"]
    word_tracks: Float[Array, "B U W F T"]


class WordTracks(nn.Module):
    """The trained part: from tracks to vectors that are added to embeddings of words, and to rows of things."""

    config: WordTracksConfig
    width: int
    compute: ComputeConfig

    def setup(self):
        """Top names: word_mlp, thing_mlp, clip_embedding; with relation layers also relations."""
        config, dtype = self.config, self.compute.dtypes["param_dtype"]
        self.word_mlp = TrackMlp(config.hidden, self.width, self.compute)
        self.thing_mlp = TrackMlp(config.hidden, self.width, self.compute)
        shape = (config.max_clips, config.hidden)
        self.clip_embedding = self.param("clip_embedding", nn.initializers.normal(0.02), shape, dtype)
        if config.relation_layers:
            self.relations = Relations(config, self.width, self.compute)

    def words(self, tracks: Float[Array, "B U W F T"]) -> Float[Array, "B U W D"]:
        """Vectors to add to the embeddings of words, one for each clip that was shown before the word."""
        of_clip = self.clip_embedding[: tracks.shape[1], None].astype(self.compute.dtypes["dtype"])
        return self.word_mlp(read_tracks(tracks, self.config.octaves), of_clip)

    def things(
        self,
        tracks: Float[Array, "B U O F T"],
        features: Float[Array, "B U O E"],
        names: Float[Array, "B O D"],
    ) -> Float[Array, "B U O D"]:
        """Rows of the language model, one for each thing; ``names`` are the mean embeddings of the things' names."""
        numbers = read_tracks(tracks, self.config.octaves)
        if self.config.octaves:
            features = features * features.shape[-1] ** 0.5  # Of a unit vector: each number is of the size of one.
        seen = jnp.concatenate([numbers, features.astype(numbers.dtype)], axis=-1)
        rows = names[:, None] + self.thing_mlp(seen)
        return rows + self.relations(names, seen) if self.config.relation_layers else rows


class Relations(nn.Module):
    """Attention among the things of a clip, whose result starts as zero."""

    config: WordTracksConfig
    width: int
    compute: ComputeConfig

    @nn.compact
    def __call__(self, names: Float[Array, "B O D"], seen: Float[Array, "B U O numbers"]) -> Float[Array, "B U O D"]:
        """Finds what each thing's row is to carry of the others, from their names and what is seen of them."""
        config, compute = self.config, self.compute
        x = nn.Dense(config.hidden, name="fc1", **compute.dtypes)(seen.astype(compute.dtypes["dtype"]))
        x = nn.Dense(self.width, name="fc2", **compute.dtypes)(nn.gelu(x))
        x = x + layer_norm(compute, "name_norm")(names)[:, None]
        encoder = Encoder(config.relation_layers, config.relation_heads, 2 * self.width, compute, name="encoder")
        found, _ = encoder(
            x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), over_heads(attention, config.relation_heads)
        )
        out = nn.Dense(self.width, use_bias=False, kernel_init=nn.initializers.zeros, name="out", **compute.dtypes)
        return out(layer_norm(compute, "norm")(found)).reshape(x.shape)


class TrackMlp(nn.Module):
    """A GELU layer and a linear map that starts as zero."""

    hidden: int
    width: int
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "*B in"], shift: Float[Array, "..."] | float = 0.0) -> Float[Array, "*B D"]:
        """Maps each track by itself; ``shift`` is added to the hidden layer before its GELU."""
        x = nn.Dense(self.hidden, name="fc1", **self.compute.dtypes)(x.astype(self.compute.dtypes["dtype"]))
        zeros = nn.initializers.zeros
        return nn.Dense(self.width, kernel_init=zeros, name="fc2", **self.compute.dtypes)(nn.gelu(x + shift))


def phrase_vectors(tokens: Float[Array, "B L E"], mask: Bool[Array, "B L"]) -> Float[Array, "B E"]:
    """Mean of the unit vectors of a phrase's content tokens, which ``mask`` marks; zero without any.

    As the local loss's query of a named thing: a map is the mean of its tokens' maps.
    """
    weights = mask / jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
    return jnp.einsum("BLE,BL->BE", unit(at_least_float32(tokens)), weights.astype(jnp.float32), precision=PRECISION)


def cosine_maps(patches: Float[Array, "*B F P E"], vectors: Float[Array, "*B W E"]) -> Float[Array, "*B W F P"]:
    """Similarity of each phrase vector to every patch; ``patches`` are unit vectors."""
    return jnp.einsum("...WE,...FPE->...WFP", vectors, patches, precision=PRECISION)


def measure_tracks(maps: Float[Array, "*B F P"], columns: int, sharpness: float) -> Float[Array, "*B F T"]:
    """The numbers of ``TRACK``, of every frame of every map.

    Args:
      maps: Cosines of P = rows * columns patches, row-major.
      columns: Patches of a row.
      sharpness: Inverse temperature of the softmax that the spread is measured on.
    """
    centres = patch_centres(maps.shape[-1], columns)
    strength = jnp.max(maps, axis=-1)
    place = peak_places(maps, columns)
    weights = jnp.exp(sharpness * (maps - strength[..., None]))
    offsets = centres - centre(weights, centres)[..., None, :]
    squares = jnp.sum(weights * jnp.sum(offsets**2, axis=-1), axis=-1) / jnp.sum(weights, axis=-1)
    spread = jnp.sqrt(squares)
    step = jnp.diff(place, axis=-2, prepend=place[..., :1, :])
    numbers = jnp.stack([strength, jnp.mean(maps, axis=-1), place[..., 0], place[..., 1], spread], axis=-1)
    return jnp.concatenate([numbers, step], axis=-1)


def features_found(patches: Float[Array, "B F P E"], maps: Float[Array, "B O F P"]) -> Float[Array, "B O E"]:
    """The patch vector at each map's strongest peak, over all frames."""
    best = jnp.argmax(maps.reshape(*maps.shape[:2], maps.shape[2] * maps.shape[3]), axis=-1)
    return jnp.take_along_axis(patches.reshape(patches.shape[0], -1, patches.shape[-1]), best[..., None], axis=1)


def add_to_words(
    vectors: Float[Array, "B U W D"], word_rows: Int[Array, "B L"], is_video: Bool[Array, "B L"], rows_of_clip: int
) -> Float[Array, "B L D"]:
    """Places the vectors of words at their rows: for each row the sum over the clips that were shown before it.

    So the embedding of a row depends on earlier rows alone, and what was read stays true when a clip follows.

    Args:
      vectors: Of each clip and word.
      word_rows: Number of the word (from 1) that a row is part of, 0 for none.
      is_video: True on rows of clips.
      rows_of_clip: V, the rows that each clip takes.
    """
    num_shown = jnp.cumsum(is_video, axis=1, dtype=jnp.int32) // rows_of_clip
    clips = jnp.arange(vectors.shape[1])
    shown = (clips < num_shown[..., None]) & (word_rows > 0)[..., None]  # [B, L, U]
    number = jnp.maximum(word_rows - 1, 0)
    of_rows = jnp.take_along_axis(vectors, number[:, None, :, None], axis=2)  # [B, U, L, D]
    return jnp.einsum("BULD,BLU->BLD", of_rows, shown.astype(vectors.dtype))


def mean_embeddings(embeds: Float[Array, "B O ids D"], ids: Int[Array, "B O ids"]) -> Float[Array, "B O D"]:
    """Mean of the embeddings of a name's ids; 0 is padding."""
    real = (ids > 0)[..., None].astype(embeds.dtype)
    return jnp.sum(embeds * real, axis=2) / jnp.maximum(jnp.sum(real, axis=2), 1)


def read_tracks(tracks: Float[Array, "*B F T"], octaves: int) -> Float[Array, "*B numbers"]:
    """The numbers of all frames in a row, as an MLP reads them; see ``WordTracksConfig.octaves``."""
    numbers = tracks
    if octaves:
        angles = tracks[..., _PLACE, None] * (jnp.pi / 2 * 2.0 ** jnp.arange(octaves)).astype(tracks.dtype)
        waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        waves = waves.reshape(*tracks.shape[:-1], 4 * octaves)
        numbers = jnp.concatenate([tracks * jnp.asarray(_GAINS, tracks.dtype), waves], axis=-1)
    return numbers.reshape(*numbers.shape[:-2], numbers.shape[-2] * numbers.shape[-1])
