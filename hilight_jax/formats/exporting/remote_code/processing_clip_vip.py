"""Prepares clips and captions for `ClipVipModel`.

inputs = processor(text=["the red ball is potted"], videos=["shot.mp4"], return_tensors="pt")
print(model(**inputs).logits_per_video)
"""

import os

import numpy as np
from transformers import BatchFeature, ProcessorMixin

from .video_frames import normalise, read_frames, squeeze


class ClipVipProcessor(ProcessorMixin):
    """A tokenizer, and the rules by which clips were made in training."""

    attributes = ["tokenizer"]
    tokenizer_class = "AutoTokenizer"

    def __init__(self, tokenizer=None, num_frames=12, image_size=224, text_length=77, **kwargs):
        """Keeps the rules.

        Args:
          tokenizer: CLIP's.
          num_frames: F, frames that are taken from a clip, spread evenly.
          image_size: Rows and columns of a frame.
          text_length: L, tokens of a caption, start and end counted; longer ones are cut.
          **kwargs: Ignored.
        """
        super().__init__(tokenizer)
        self.num_frames, self.image_size, self.text_length = num_frames, image_size, text_length

    def __call__(self, text=None, videos=None, **kwargs) -> BatchFeature:
        """Tokenises captions and reads clips.

        Args:
          text: A caption or a list of them.
          videos: A clip or a list of clips: paths, bytes, or arrays [n, Y, X, 3] of uint8.
          **kwargs: `return_tensors`, and options of the tokenizer.

        Returns:
          `input_ids` and `attention_mask` [texts, L]; `pixel_values_videos` [B, F, 3, H, W], float32.

        Raises:
          ValueError: A clip cannot be read.
        """
        kind = kwargs.pop("return_tensors", None)
        data = {}
        if text is not None:
            texts = [text] if isinstance(text, str) else list(text)
            padding = {"padding": "max_length", "truncation": True, "max_length": self.text_length}
            data |= self.tokenizer(texts, **{**padding, **kwargs})
        if videos is not None:
            single = isinstance(videos, (str, bytes, os.PathLike)) or getattr(videos, "ndim", 0) == 4
            clips = [read_frames(video, self.num_frames) for video in ([videos] if single else videos)]
            data["pixel_values_videos"] = np.stack([normalise(squeeze(clip, self.image_size)) for clip in clips])
        return BatchFeature(data, tensor_type=kind)

    @property
    def model_input_names(self):
        """The names of the model's inputs."""
        return ["input_ids", "attention_mask", "pixel_values_videos"]


__all__ = ["ClipVipProcessor"]
