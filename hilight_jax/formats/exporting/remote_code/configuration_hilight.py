"""Sizes of a HiLight chat model, as `transformers` reads them from `config.json`.

HiLight (arXiv 2407.07325) answers questions about video clips: a video tower sees the whole clip, a frame tower its key
frames, token mining condenses both into the rows that Gemma reads in place of `<video>`.
"""

from transformers import GemmaConfig, PretrainedConfig


class HiLightConfig(PretrainedConfig):
    """Configuration of `HiLightForCausalLM`.

    Args:
      text_config: Of the language model, a `GemmaConfig` or its values.
      video_config: Keyword arguments of the video tower, `ClipVipTower`.
      frame_config: Keyword arguments of the frame tower, also a `ClipVipTower` (a frame is a clip of one), or None
        where the video tower looks at the key frames as well.
      frame_width: Width of the projected features of key frames.
      mining_config: Structure and options of token mining, keyword arguments of `TokenMining`.
      word_config: Of word tracks: `text_config`, `level_pairs`, `level_weights`, `local_head`, `local_text_side`,
        `center_video` and `embed_dim` of the encoder's text tower and local heads; `num_frames`, `hidden`, `max_clips`,
        `sharpness`, `octaves`, `relation_layers` and `relation_heads`; `thing_ids`, `thing_phrase_ids` and
        `thing_content`, the listed things in the ids of both tokenizers. None where words carry nothing.
      video_token_id: The id that stands for a row of a clip in `input_ids`; the first one behind the vocabulary.
      weight_quantization: `"int8_per_channel"` where linear maps are stored as int8 with a scale for each output.
    """

    model_type = "hilight_video"
    sub_configs = {"text_config": GemmaConfig}
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        text_config=None,
        video_config=None,
        frame_config=None,
        frame_width=512,
        mining_config=None,
        word_config=None,
        video_token_id=None,
        weight_quantization=None,
        **kwargs,
    ):
        if not isinstance(text_config, PretrainedConfig):
            text_config = GemmaConfig(**(text_config or {}))
        self.text_config = text_config
        self.video_config = dict(video_config or {})
        self.frame_config = None if frame_config is None else dict(frame_config)
        self.frame_width = frame_width
        self.mining_config = dict(mining_config or {})
        self.word_config = None if word_config is None else dict(word_config)
        self.video_token_id = text_config.vocab_size if video_token_id is None else video_token_id
        self.weight_quantization = weight_quantization
        kwargs.setdefault("tie_word_embeddings", True)
        super().__init__(**kwargs)


__all__ = ["HiLightConfig"]
