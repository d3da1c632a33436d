"""Texts and video clips become what `HiLightForCausalLM` takes.

inputs = processor.apply_chat_template(
    [{"role": "user", "content": [{"type": "video", "path": "shot.mp4"}, {"type": "text", "text": "Who won?"}]}],
    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
)
answer = processor.decode(model.generate(**inputs)[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
"""

import json
import os

import numpy as np
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import cached_file

from .phrase_ids import PhraseIds
from .phrases import PhraseFinder
from .video_frames import choose_key_frames, normalise, read_frames, squeeze

VIDEO_TOKEN = "<video>"
_HUB = ("cache_dir", "force_download", "local_files_only", "token", "revision")


class HiLightProcessor(ProcessorMixin):
    """A tokenizer, and the rules by which clips were made in training."""

    attributes = ["tokenizer"]
    tokenizer_class = "AutoTokenizer"

    def __init__(
        self,
        tokenizer=None,
        num_frames=12,
        image_size=224,
        num_video_rows=384,
        key_frame_rule="uniform",
        num_key_frames=12,
        key_frame_indices=(),
        word_file=None,
        chat_template=None,
        **kwargs,
    ):
        """Keeps the rules.

        Args:
          tokenizer: Gemma's, with the token `<video>`.
          num_frames: F, frames that are taken from a clip, spread evenly.
          image_size: Rows and columns of a frame.
          num_video_rows: V, rows of a clip in the language model.
          key_frame_rule: `uniform`, `explicit` or `content`.
          num_key_frames: K, frames that the frame tower sees.
          key_frame_indices: Of the rule `explicit`.
          word_file: With word tracks, the file that phrases are found with; `from_pretrained` reads it.
          chat_template: In Jinja.
          **kwargs: Ignored.
        """
        super().__init__(tokenizer, chat_template=chat_template)
        self.num_frames, self.image_size, self.num_video_rows = num_frames, image_size, num_video_rows
        self.key_frame_rule, self.num_key_frames = key_frame_rule, num_key_frames
        self.key_frame_indices = list(key_frame_indices)
        self.word_file, self._words = word_file, None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """Loads a processor from a directory or from the hub, with the file that phrases are found with."""
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        if processor.word_file is not None:
            hub = {name: kwargs[name] for name in _HUB if name in kwargs}
            with open(cached_file(pretrained_model_name_or_path, processor.word_file, **hub), encoding="utf-8") as file:
                processor._words = _Words(json.load(file))
        return processor

    def save_pretrained(self, save_directory, **kwargs):
        """Saves all that `from_pretrained` reads."""
        os.makedirs(save_directory, exist_ok=True)
        if self._words is not None:
            with open(os.path.join(save_directory, self.word_file), "w", encoding="utf-8") as file:
                json.dump(self._words.rules, file, ensure_ascii=False)
        return super().save_pretrained(save_directory, **kwargs)

    def __call__(self, text=None, videos=None, images=None, audio=None, **kwargs) -> BatchFeature:
        """Tokenises texts, each `<video>` as V rows, and reads the clips that stand for them.

        Args:
          text: A text or a list of texts.
          videos: The clips: a path, bytes, or array [n, Y, X, 3] of uint8 each; a list, or a list for each text.
          images: Not known to the model.
          audio: Not known to the model.
          **kwargs: Of the tokenizer: `return_tensors`, `padding`, `add_special_tokens` ...

        Returns:
          `input_ids` and `attention_mask` [B, L]; with clips `pixel_values_videos` [clips, F, 3, H, W], float32, and
          `key_frames` [clips, K]; with texts, clips and word tracks also what `find_words` makes.

        Raises:
          ValueError: The clips are not as many as the `<video>` marks, or cannot be read.
        """
        if images is not None or audio is not None:
            raise ValueError("this model sees video clips only; give images as a clip of one frame.")
        for group in ("text_kwargs", "videos_kwargs", "common_kwargs"):
            kwargs.update(kwargs.pop(group, None) or {})
        for name in ("do_sample_frames", "load_audio_from_video", "return_metadata"):
            kwargs.pop(name, None)
        kind = kwargs.pop("return_tensors", None)
        single = isinstance(text, str)
        texts = [text] if single else list(text or ())
        if texts and kind is not None and len(texts) > 1:
            kwargs.setdefault("padding", True)
        clips = _flat(videos)
        marks = sum(one.count(VIDEO_TOKEN) for one in texts)
        if texts and marks != len(clips):
            raise ValueError(f"the texts have {marks} {VIDEO_TOKEN} marks for {len(clips)} clips; give one for each.")
        data = {}
        if texts:
            texts = [one.replace(VIDEO_TOKEN, VIDEO_TOKEN * self.num_video_rows) for one in texts]
            data |= self.tokenizer(texts[0] if single and kind is None else texts, **kwargs)
        if clips:
            data |= self.read_clips(clips)
            data |= self.find_words(data["input_ids"]) if texts else {}
        return BatchFeature(data, tensor_type=kind)

    def find_words(self, input_ids) -> dict:
        """The words of expanded ids [L] or [B, L] that name something; nothing without word tracks.

        Returns:
          `word_rows`, alike: the number (from 1) of the phrase that an id is part of, 0 for none; `phrase_ids` and
          `phrase_content` [W, phrase length], the batch's phrases in CLIP's ids, 1 on tokens that name something.
        """
        if self._words is None:
            return {}
        single = len(input_ids) > 0 and np.ndim(input_ids[0]) == 0
        return self._words([input_ids] if single else input_ids, single)

    def read_clips(self, clips) -> dict[str, np.ndarray]:
        """`pixel_values_videos` and `key_frames` of clips."""
        pixels, key_frames = [], []
        for clip in clips:
            frames = squeeze(read_frames(clip, self.num_frames), self.image_size)
            pixels.append(normalise(frames))
            key_frames.append(
                choose_key_frames(frames, self.key_frame_rule, self.num_key_frames, self.key_frame_indices)
            )
        return {"pixel_values_videos": np.stack(pixels), "key_frames": np.stack(key_frames)}

    @property
    def model_input_names(self):
        """The names of the model's inputs."""
        words = () if self._words is None else ("word_rows", "phrase_ids", "phrase_content")
        return [*self.tokenizer.model_input_names, "pixel_values_videos", "key_frames", *words]


class _Words:
    """Finds phrases in batches of ids."""

    def __init__(self, rules: dict):
        self.rules, pieces = rules, dict(enumerate(piece.encode("latin-1") for piece in rules["pieces"]))
        self._find, self._encode = PhraseFinder(lambda i: pieces.get(i, b""), rules), PhraseIds(rules)

    def __call__(self, input_ids, single: bool) -> dict:
        numbers, word_rows = {}, []
        for ids in input_ids:
            rows, phrases = self._find(np.asarray(ids))
            of_batch = np.array([0, *(numbers.setdefault(phrase, len(numbers) + 1) for phrase in phrases)])
            word_rows.append(of_batch[rows].tolist())
        phrase_ids, content = self._encode(tuple(numbers))
        return {
            "word_rows": word_rows[0] if single else word_rows,
            "phrase_ids": phrase_ids.astype(np.int64),
            "phrase_content": content.astype(np.int64),
        }


def _flat(videos) -> list:
    """Clips in order, whether they come alone, in a list or in a list for each text."""
    if videos is None:
        return []
    if _is_clip(videos):
        return [videos]
    if not isinstance(videos, (list, tuple)) and getattr(videos, "ndim", 0) != 5:
        raise ValueError(f"videos are {type(videos).__name__}, but must be a path, bytes, frames or a list of these.")
    return [clip for item in videos for clip in _flat(item)]


def _is_clip(item) -> bool:
    """True for one clip: a file, its bytes, an array [n, Y, X, 3] or a list of pictures."""
    if isinstance(item, (str, bytes, os.PathLike)):
        return True
    if isinstance(item, (list, tuple)):
        return bool(item) and (hasattr(item[0], "convert") or getattr(item[0], "ndim", 0) == 3)
    return getattr(item, "ndim", 0) == 4


__all__ = ["HiLightProcessor"]
