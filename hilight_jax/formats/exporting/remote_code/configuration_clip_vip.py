"""Sizes of CLIP-ViP+, a dual encoder of clips and captions, as `transformers` reads them from `config.json`."""

from transformers import PretrainedConfig


class ClipVipConfig(PretrainedConfig):
    """Configuration of `ClipVipModel`.

    Args:
      video_config: Keyword arguments of the video tower, `ClipVipTower`.
      text_config: `vocab_size`, `max_length`, `width`, `depth`, `num_heads` and `mlp_dim` of the text tower.
      embed_dim: Width of the shared space.
      level_pairs: Levels (video, text) whose features local heads map: 0 is the embeddings, k the output of block k.
      level_weights: What each level counts in a word's map over the patches.
      local_head: `linear`, or `mlp` for the video side of the embeddings.
      local_text_side: `same` level as the video side, or always the `embedding` level.
      center_video: Take each clip's mean from its patches above the embeddings.
      pool_local: Add a map of the largest local features of a clip to its embedding.
      similarity: `cosine`, or `dot`, how words and patches were compared in training.
    """

    model_type = "clip_vip_plus"

    def __init__(
        self,
        video_config=None,
        text_config=None,
        embed_dim=512,
        level_pairs=(),
        level_weights=(),
        local_head="linear",
        local_text_side="same",
        center_video=False,
        pool_local=False,
        similarity="cosine",
        **kwargs,
    ):
        self.video_config = dict(video_config or {})
        self.text_config = dict(text_config or {})
        self.embed_dim = embed_dim
        self.level_pairs, self.level_weights = [list(pair) for pair in level_pairs], list(level_weights)
        self.local_head, self.local_text_side, self.center_video = local_head, local_text_side, center_video
        self.pool_local, self.similarity = pool_local, similarity
        super().__init__(**kwargs)


__all__ = ["ClipVipConfig"]
