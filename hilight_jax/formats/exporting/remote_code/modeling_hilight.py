"""HiLight (arXiv 2407.07325) on torch: two towers see a clip, token mining condenses it, Gemma answers.

Names of weights: `model.*` are those of `GemmaForCausalLM`; `vision_model.*` and `visual_projection.weight` those of
`CLIPModel`, as which Long-CLIP's image tower is stored; `video_tower.*` are CLIP-ViP's and `token_mining.*` HiLight's.
`word_tracks.*` belong to models whose words carry where the clips show what they name.
"""

import torch
from torch import nn
from torch.nn import functional
from transformers import GemmaModel, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .clip_vip_tower import ClipVipTower
from .configuration_hilight import HiLightConfig
from .quantized import quantize_language_model
from .token_mining import TokenMining
from .word_tracks import WordTracks


class HiLightForCausalLM(PreTrainedModel, GenerationMixin):
    """The chat model.

    `input_ids` come expanded, as the processor makes them: each clip is V rows of `config.video_token_id`, and the
    clips of a batch fill the rows in their order, sample after sample. A batch may mix samples without a clip, with one
    and with several.
    """

    config_class = HiLightConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("video", "text")
    supports_gradient_checkpointing = True
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _no_split_modules = ["GemmaDecoderLayer", "ClipVipTower", "TokenMining"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = False

    def __init__(self, config: HiLightConfig):
        super().__init__(config)
        text = config.text_config
        self.video_tower = ClipVipTower(**config.video_config)
        if config.frame_config is not None:
            self.vision_model = ClipVipTower(**config.frame_config)
        frames_from = config.video_config if config.frame_config is None else config.frame_config
        self.visual_projection = nn.Linear(frames_from["width"], config.frame_width, bias=False)
        self.token_mining = TokenMining(
            config.video_config, config.frame_width, text.hidden_size, **config.mining_config
        )
        if config.word_config is not None:
            self.word_tracks = WordTracks(config.word_config, config.video_config, text.hidden_size)
        self.model = GemmaModel(text)
        self.vocab_size = text.vocab_size
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        if config.weight_quantization is not None:
            quantize_language_model(self, config.weight_quantization)
            self._tied_weights_keys = {}
        self.post_init()

    def get_video_features(self, pixel_values_videos: torch.Tensor, key_frames: torch.Tensor) -> torch.Tensor:
        """The rows of clips in the input of the language model, before it scales them.

        Args:
          pixel_values_videos: [clips, F, 3, H, W], normalised.
          key_frames: [clips, K], numbers among the F frames.

        Returns:
          [clips, V, D], V rows of each clip.
        """
        return self._see(pixel_values_videos, key_frames)[0]

    def _see(self, pixel_values_videos, key_frames):
        """The rows of clips, and their patches that phrases are compared with; None without word tracks."""
        pixels = pixel_values_videos.to(self.device, self.model.norm.weight.dtype)
        key_frames = key_frames.to(pixels.device, torch.long)
        clips, count = key_frames.shape
        chosen = pixels[torch.arange(clips, device=pixels.device)[:, None], key_frames].flatten(0, 1).unsqueeze(1)
        frame_tower = self.video_tower if self.config.frame_config is None else self.vision_model
        features = self.visual_projection(frame_tower(chosen)[1])
        tokens, _, states = self.video_tower(pixels)
        rows = self.token_mining(tokens, features.view(clips, count, -1))
        if self.config.word_config is None:
            return rows, None
        patches = self.word_tracks.patches(self.video_tower, states, pixels.shape[1])
        if self.config.word_config["thing_ids"]:
            things = self.word_tracks.thing_rows(patches, lambda ids: self.model.embed_tokens(ids) / self._scale(rows))
            rows = torch.cat([rows, things.to(rows.dtype)], dim=1)
        return rows, patches

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values=None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values_videos: torch.Tensor | None = None,
        key_frames: torch.LongTensor | None = None,
        word_rows: torch.LongTensor | None = None,
        phrase_ids: torch.LongTensor | None = None,
        phrase_content: torch.LongTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """Scores the next token after each of `input_ids`.

        Args:
          input_ids: [B, L], expanded.
          attention_mask: [B, L], 1 for real rows; padding may be on either side.
          position_ids: [B, L]; by default real rows are counted from 0.
          past_key_values: The cache of the rows before.
          inputs_embeds: [B, L, D] instead of `input_ids`, clips and the scale of embeddings included.
          pixel_values_videos: [clips, F, 3, H, W], all clips of the batch.
          key_frames: [clips, K], which of their frames the frame tower sees.
          word_rows: [B, L], with word tracks, the phrase (from 1) that a row is part of, 0 for none.
          phrase_ids: [W, phrase length], the phrases of the batch in CLIP's ids.
          phrase_content: [W, phrase length], 1 on their tokens that name something visible.
          labels: [B, L], ids to learn, -100 elsewhere.
          use_cache: Whether to return a cache.
          logits_to_keep: Score the last so many rows only; 0 scores all.
          **kwargs: Of `GemmaModel`.

        Raises:
          ValueError: The rows for clips in `input_ids` are not as many as the clips fill.
        """
        if inputs_embeds is None:
            words = (word_rows, phrase_ids, phrase_content)
            inputs_embeds = self._embed(input_ids, pixel_values_videos, key_frames, words)
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -inputs_embeds.shape[1] :]
        outputs = self.model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **{name: value for name, value in kwargs.items() if name != "return_dict"},
        )
        rows = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, rows])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.vocab_size)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _embed(self, input_ids, pixel_values_videos, key_frames, words):
        """Embeddings of ids with the rows of clips filled in order, and what words carry; both scaled as text is."""
        is_video = input_ids == self.config.video_token_id
        embeds = self.model.embed_tokens(input_ids.masked_fill(is_video, 0))
        if pixel_values_videos is None:
            if input_ids.shape[1] > 1 and is_video.any():
                raise ValueError("input_ids have rows for clips, but pixel_values_videos are missing; give both.")
            return embeds
        if key_frames is None:
            raise ValueError("pixel_values_videos are given without key_frames; take both from the processor.")
        tokens, patches = self._see(pixel_values_videos, key_frames)
        if is_video.sum() != tokens.shape[0] * tokens.shape[1]:
            raise ValueError(
                f"input_ids have {is_video.sum()} rows for clips, but {tokens.shape[0]} clips fill {tokens.shape[1]} "
                f"each; give one clip for each <video>."
            )
        tokens = tokens.to(embeds.dtype) * self._scale(embeds)
        embeds = embeds.masked_scatter(is_video.unsqueeze(-1), tokens)
        if patches is None:
            return embeds
        if any(x is None for x in words):
            raise ValueError(
                "this model's words carry what clips show, but word_rows, phrase_ids and phrase_content are missing; "
                "take the inputs from the processor, or these from processor.find_words(input_ids)."
            )
        rows, *phrases = (x.to(embeds.device) for x in words)
        rows = functional.pad(rows, (0, input_ids.shape[1] - rows.shape[1]))  # Words of answers carry nothing.
        if not len(phrases[0]):
            return embeds
        carried = self.word_tracks.carried(patches, *phrases, rows, is_video, tokens.shape[1])
        return embeds + carried.to(embeds.dtype) * self._scale(embeds)

    def _scale(self, like: torch.Tensor) -> torch.Tensor:
        """The factor of embeddings, 1 where this version's GemmaModel scales all rows itself."""
        return torch.as_tensor(getattr(self.model.embed_tokens, "embed_scale", 1.0)).to(like.device, like.dtype)

    def _expand_inputs_for_generation(self, expand_size=1, is_encoder_decoder=False, input_ids=None, **model_kwargs):
        """Repeats samples; the clips of one sample stay together, which repeating each clip would not do."""
        clips = {name: model_kwargs.pop(name, None) for name in ("pixel_values_videos", "key_frames")}
        phrases = {name: model_kwargs.pop(name, None) for name in ("phrase_ids", "phrase_content")}
        pixels, key_frames = clips.values()
        if expand_size > 1 and pixels is not None:
            rows = key_frames.shape[1] * self.config.mining_config.get("tokens_per_frame", 32)
            if self.config.word_config is not None:
                rows += len(self.config.word_config["thing_ids"])
            counts = (input_ids == self.config.video_token_id).sum(1) // rows
            numbers = torch.arange(len(pixels), device=pixels.device).split(counts.tolist())
            order = torch.cat([part for part in numbers for _ in range(expand_size)])
            clips = {name: x[order.to(x.device)] for name, x in clips.items()}
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **model_kwargs
        )
        return input_ids, model_kwargs | {name: x for name, x in (clips | phrases).items() if x is not None}


__all__ = ["HiLightForCausalLM"]
