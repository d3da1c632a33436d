"""HiLight (arXiv 2407.07325): two towers see a clip, token mining condenses it, Gemma answers questions about it.

CLIP-ViP+ encodes the whole clip, Long-CLIP single key frames of it. The frames' features query the clip's tokens, and
the results replace the clip's rows among the embeddings of the text. With word tracks (models/word_tracks.py) rows of
things follow the mined ones, and words that name something carry where it was seen. Shapes are static throughout: a
batch may mix samples of text alone, of one clip and of several in any order.

Letters: B batch, L text length, V video tokens of a clip, U clips of a sample, F frames, S tokens of a clip, D width,
E shared embedding width, O things of the domain, v vocabulary; Y rows, X columns and C colours of an image.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.mesh import split_over_batch
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import Tree
from hilight_jax.models import lora
from hilight_jax.models.clip import TextTower
from hilight_jax.models.clip_vip import VideoTower
from hilight_jax.models.gemma import Gemma
from hilight_jax.models.gemma_decoding import Cache
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.layers import projection
from hilight_jax.models.local_heads import (
    LocalHeads,
    map_features,
    tapped_patches,
    tapped_tokens,
)
from hilight_jax.models.long_clip import FrameTower
from hilight_jax.models.lora import COLLECTION, LoraConfig
from hilight_jax.models.token_mining import TokenMining
from hilight_jax.models.word_tracks import (
    WordInputs,
    WordTracks,
    add_to_words,
    cosine_maps,
    features_found,
    mean_embeddings,
    measure_tracks,
    phrase_vectors,
)

# Ids, mask and content of a phrase of one token.
_NO_PHRASE = tuple(np.ones((1, 1), dtype) for dtype in (np.int32, bool, bool))


class HiLight(nn.Module):
    """The chat model. Every method is a part that runs alone, so that frozen towers' outputs can be cached.

    Attributes:
      config: Sizes.
      stacked: Gemma's parameters on a leading layer axis; False after ``unstack_layers``, for inference.
    """

    config: HiLightConfig
    stacked: bool = True

    def setup(self):
        """Top names: vision, frames or visual_projection, token_mining, gemma; with tracks text, local, word_tracks."""
        config, compute = self.config, self.config.compute
        self.vision = VideoTower(config.vision, compute)
        if config.frames is not None:
            self.frames = FrameTower(config.frames, compute)
        else:
            self.visual_projection = projection(config.token_mining.width_frames, config.vision.width, compute)
        if config.word_tracks is not None and config.text is not None and config.local is not None:
            self.text = TextTower(config.text, compute)
            self.local = LocalHeads(
                config.local,
                config.level_pairs,
                config.vision.width,
                config.text.width,
                config.word_tracks.embed_dim,
                0.0,
                compute,
            )
            self.word_tracks = WordTracks(config.word_tracks, config.gemma.width, compute)
        self.token_mining = TokenMining(config.token_mining, compute, config.vision)
        self.gemma = Gemma(config.gemma, compute, config.lora, self.stacked)

    def __call__(
        self,
        ids: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        clip_tokens: Float[Array, "B U S D"],
        frame_features: Float[Array, "B U F E"],
        words: WordInputs | None = None,
        deterministic: bool = True,
        positions: Int[Array, "B L"] | None = None,
        branch: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        """Runs conversations about clips whose tower features are known: the training path.

        Args:
          ids: Expanded ids: every row of a clip is ``VIDEO_ID``, V rows a clip, which a sample's clips fill in order.
            A sample without such rows is text alone and ignores its features.
          mask: True for real rows.
          clip_tokens: The video tower's tokens of up to U clips; absent clips are zeros.
          frame_features: The frame tower's embeddings of their key frames.
          words: Tracks of the things and of the words of the text; None without word tracks.
          deterministic: No dropout on LoRA's inputs.
          positions: None counts real rows from 0, wherever the padding is.
          branch: Of each row, where a sample is several conversations about its clips, see ``Gemma``; they need
            ``positions`` that go on from the clips' in each branch.

        Returns:
          The language model's rows after its final norm, for ``logits``.
        """
        batch, clips = clip_tokens.shape[:2]
        mined = self.mine(*(x.reshape(-1, *x.shape[2:]) for x in (clip_tokens, frame_features)))["tokens"]
        rows = mined.reshape(batch, clips, *mined.shape[1:])
        carried = None
        if words is not None:
            things = self.thing_rows(words.thing_ids, words.thing_tracks, words.thing_features)
            rows = jnp.concatenate([rows, things.astype(rows.dtype)], axis=2)
            vectors = self.word_tracks.words(words.word_tracks)
            carried = add_to_words(vectors, words.word_rows, ids == VIDEO_ID, rows.shape[2])
        embeds = self.embed(ids, rows.reshape(batch, -1, rows.shape[-1]), carried)
        if positions is None:
            positions = count_positions(mask)
        return self.language(embeds, positions, mask, None, branch, deterministic=deterministic)["tokens"]

    def encode_video(
        self, video: Float[Array, "B F Y X C"], key_frames: Int[Array, "B keys"]
    ) -> dict[str, Float[Array, "..."]]:
        """Runs both towers; ``init`` by this method makes all ``TOWER_PARTS``.

        Args:
          video: Clips of normalised pixels.
          key_frames: Numbers of the frames for the frame tower.

        Returns:
          ``clip_tokens`` [B, M+F*P, D], proxies first, without the post norm; ``frame_features`` [B, keys, E],
          projected, not normalised; with word tracks ``patch_features`` [B, F, P, E], unit vectors that words are
          compared with.
        """
        chosen = jnp.take_along_axis(video, key_frames[:, :, None, None, None], axis=1)
        chosen = chosen.reshape(-1, *chosen.shape[2:])
        embeds: Array
        if self.config.frames is not None:
            embeds = self.frames(chosen)["embeds"]
        else:
            embeds = self.visual_projection(self.vision(chosen[:, None])["pooled"])
        with_words = self.config.word_tracks is not None and self.config.local is not None
        tower = self.vision(video, with_words and "all" in self.config.local.levels)
        out = {
            "clip_tokens": tower["tokens"],
            "frame_features": embeds.reshape(*key_frames.shape, embeds.shape[-1]),
        }
        if with_words:
            levels = [level for level, _ in self.config.level_pairs]
            local = self.local.map_video(tapped_patches(self.vision, tower, levels, video.shape[1]))
            out["patch_features"] = map_features(local, self.config.map_weights)
            if self.is_initializing():
                self.encode_phrases(*_NO_PHRASE)
        return out

    def encode_phrases(
        self, ids: Int[Array, "B L"], mask: Bool[Array, "B L"], content: Bool[Array, "B L"]
    ) -> Float[Array, "B E"]:
        """Vectors of phrases, to be compared with ``patch_features``.

        Args:
          ids: Of CLIP's tokenizer, each phrase alone.
          mask: True for real tokens.
          content: True for those that name something visible.
        """
        config = self.config.text, self.config.local
        assert config[0] is not None and config[1] is not None
        tower = self.text(ids, mask, "all" in config[1].levels)
        levels = [level for _, level in self.config.level_pairs]
        local = self.local.map_text(tapped_tokens(tower, levels, config[0].depth, config[1].text_side))
        return phrase_vectors(map_features(local, self.config.map_weights), content)

    def track(self, patches: Float[Array, "B F P E"], vectors: Float[Array, "B W E"]) -> dict[str, Float[Array, "..."]]:
        """Finds phrases in clips.

        Args:
          patches: ``patch_features`` of the clips.
          vectors: ``encode_phrases`` of what is looked for.

        Returns:
          ``maps`` [B, W, F, P], cosines; ``tracks`` [B, W, F, T], see ``word_tracks.TRACK``; ``features`` [B, W, E],
          the patch vectors at the strongest peaks.
        """
        assert self.config.word_tracks is not None
        maps = cosine_maps(patches, vectors)
        columns = self.config.vision.image_size // self.config.vision.patch_size
        tracks = measure_tracks(maps, columns, self.config.word_tracks.sharpness)
        return {"maps": maps, "tracks": tracks, "features": features_found(patches, maps)}

    def thing_rows(
        self,
        ids: Int[Array, "B O ids"],
        tracks: Float[Array, "B U O F T"],
        features: Float[Array, "B U O E"],
    ) -> Float[Array, "B U O D"]:
        """The rows of the things of each clip, see ``WordInputs``; each has the mean embedding of its name."""
        return self.word_tracks.things(tracks, features, mean_embeddings(self.gemma.embed(ids), ids))

    def word_vectors(self, tracks: Float[Array, "B U W F T"]) -> Float[Array, "B U W D"]:
        """Vectors that the embeddings of words carry, one for each clip, see ``WordTracks.words``."""
        return self.word_tracks.words(tracks)

    def mine(
        self, clip_tokens: Float[Array, "B S D"], frame_features: Float[Array, "B F E"]
    ) -> dict[str, Float[Array, "..."]]:
        """Token mining: ``tokens`` [B, V, D] of each clip, and the ``attention`` [B, V, S] they come from."""
        return self.token_mining(clip_tokens, frame_features)

    def embed(
        self,
        ids: Int[Array, "B L"],
        video_tokens: Float[Array, "B rows D"],
        carried: Float[Array, "B L D"] | None = None,
    ) -> Float[Array, "B L D"]:
        """Embeddings of expanded ids, video rows filled in order; the language model scales them all, video too.

        ``carried`` is added: what words carry of the clips, zero elsewhere.
        """
        is_video = ids == VIDEO_ID
        embeds = splice(split_over_batch(self.gemma.embed(jnp.where(is_video, 0, ids))), video_tokens, is_video)
        return embeds if carried is None else embeds + carried.astype(embeds.dtype)

    def language(
        self,
        inputs_embeds: Float[Array, "B L D"],
        positions: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        cache: Cache | None = None,
        branch: Int[Array, "B L"] | None = None,
        **options: bool,
    ) -> dict[str, Any]:
        """The language model on merged embeddings, see ``Gemma``."""
        return self.gemma(inputs_embeds, positions, mask, cache, branch, **options)

    def logits(self, tokens: Float[Array, "B L D"]) -> Float[Array, "B L v"]:
        """Predictions of rows after the final norm."""
        return self.gemma.logits(tokens)

    def language_model_parts(
        self,
        ids: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        clip_tokens: Float[Array, "B U S D"],
        frame_features: Float[Array, "B U F E"],
        words: WordInputs | None = None,
        positions: Int[Array, "B L"] | None = None,
        branch: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L v"]:
        """From tower features to logits; ``init`` by this method makes every part but the towers."""
        inputs = ids, mask, clip_tokens, frame_features, words
        logits = self.logits(self(*inputs, positions=positions, branch=branch))
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
        """From pixels to logits; ``init`` by this method makes every part. No word of ``ids`` carries a track."""
        batch, clips = video.shape[:2]
        towers = self.encode_video(*(x.reshape(batch * clips, *x.shape[2:]) for x in (video, key_frames)))
        features = {name: x.reshape(batch, clips, *x.shape[1:]) for name, x in towers.items()}
        words = None
        if self.config.word_tracks is not None:
            words = self._no_words(ids, features.pop("patch_features"))
        return self.language_model_parts(ids, mask, **features, words=words)

    def _no_words(self, ids: Int[Array, "B L"], patches: Float[Array, "B U F P E"]) -> WordInputs:
        """Inputs of the word tracks with one word that no row is part of, and no thing."""
        batch, clips = patches.shape[:2]
        vector = self.encode_phrases(*_NO_PHRASE)
        found = jax.vmap(lambda clip: self.track(clip, jnp.broadcast_to(vector, (batch, 1, vector.shape[1]))), 1, 1)
        tracks, features = (found(patches)[name] for name in ("tracks", "features"))
        no_thing = jnp.zeros((batch, 0, 1), jnp.int32)
        return WordInputs(no_thing, tracks[:, :, :0], features[:, :, :0], jnp.zeros_like(ids), tracks)

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
