"""Answers to prompts about clips: batches of unequal prompts, read at once and continued token by token."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import Tree
from hilight_jax.generation.clip_features import ClipEncoder, ClipFeatures
from hilight_jax.generation.language_model import Decoder
from hilight_jax.generation.prompt import Context, Prompt, bucket_length, slot_count
from hilight_jax.generation.sampling import SamplingConfig, row_keys, sample
from hilight_jax.generation.streaming import TextStream, Tokenizer
from hilight_jax.models.gemma import Cache
from hilight_jax.models.hilight import HiLightConfig

__all__ = ["Answer", "ClipFeatures", "Generator", "Prompt", "SamplingConfig"]


class Answer(NamedTuple):
    """What a model says.

    Attributes:
      ids: int32, without the token that ended it.
      text: What they spell.
      finish_reason: ``stop`` for an end of its own, ``length`` where it was cut.
    """

    ids: np.ndarray
    text: str
    finish_reason: Literal["stop", "length"]


class Generator:
    """A chat model that answers.

    A prompt's answer does not depend on the batch it is in. All programs are compiled when they are first needed, one
    for each of a few lengths.

    Attributes:
      config: Sizes of the model.
      tokenizer: Its tokenizer.
      max_length: Tokens of a prompt and its answer together.
      decoder: The language model.
    """

    def __init__(
        self, config: HiLightConfig, params: Tree, tokenizer: Tokenizer, max_length: int, remembered_clips: int = 16
    ):
        """Puts a model to work.

        Args:
          config: Sizes of the model.
          params: Its parts (vision, frames, token_mining, gemma and perhaps lora), layers stacked. What already is a
            device's array is shared. Arrays of numpy are copied where they lie askew: drop them afterwards.
          tokenizer: Its tokenizer.
          max_length: Tokens of a prompt and its answer together, those of clips counted.
          remembered_clips: Clips whose features are kept.

        Raises:
          ConfigError: The tokenizer has ids that the model has not.
        """
        if tokenizer.vocab_size > config.gemma.vocab_size:
            raise ConfigError(
                f"the tokenizer has {tokenizer.vocab_size} pieces, but the model knows {config.gemma.vocab_size}; give "
                f"the tokenizer.model that the model was trained with."
            )
        self.config, self.tokenizer, self.max_length = config, tokenizer, max_length
        self.decoder = Decoder(config, params)
        self._encode_clip = ClipEncoder(config, params, remembered_clips)
        self._context: Context | None = None

    def encode_clip(self, frames: np.ndarray, key_frames: np.ndarray) -> ClipFeatures:
        """Makes a clip's rows for the language model, see ``ClipEncoder``; the latest clips are remembered."""
        return self._encode_clip(frames, key_frames)

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingConfig = SamplingConfig(),
        on_text: Callable[[int, str], Any] | None = None,
        *,
        reuse_prefix: bool = False,
    ) -> list[Answer]:
        """Answers prompts, all in one batch.

        Args:
          prompts: At least one.
          sampling: How to speak.
          on_text: Called as ``on_text(number of the prompt, text)`` with every new piece of an answer.
          reuse_prefix: For a chat: one prompt, which is read from where it differs from the last one that was answered
            so. Numbers then depend, within rounding, on what was said before.

        Raises:
          DataError: A prompt is empty, has rows for other clips than it has, ids that the model has not, or leaves no
            room for an answer.
        """
        self.check(prompts, sampling)
        budgets = [min(sampling.max_new_tokens, self.max_length - len(prompt.ids)) for prompt in prompts]
        reuse = reuse_prefix and len(prompts) == 1
        logits, cache, slots = self._read(prompts, max(budgets), reuse)
        stop_ids = sampling.stops(self.tokenizer.stop_ids)
        rows = [_Row(i, budget, TextStream(self.tokenizer), on_text) for i, budget in enumerate(budgets)]
        keys = row_keys(sampling, [prompt.ids for prompt in prompts])
        positions = np.array([len(prompt.ids) for prompt in prompts], np.int32)
        for step in range(max(budgets)):
            ids = sample(logits, keys, step, sampling)
            for row, token in zip(rows, np.asarray(ids).tolist(), strict=True):
                row.take(token, stop_ids)
            if all(row.finish_reason for row in rows):
                break
            logits, cache = self.decoder.read_one(ids, positions + step, cache)
            slots.append(slots[-1] + 1)
        if reuse:
            self._context = Context([*prompts[0].rows(), *rows[0].ids][: len(slots)], slots, cache)
        return [row.answer() for row in rows]

    def read_prompt(self, prompt: Prompt) -> tuple[Any, Cache, int]:
        """Reads one prompt by itself: scores [1, vocab], the cache, and how many of its places were written."""
        logits, cache, slots = self._read([prompt], 0, reuse=False)
        return logits, cache, slots[-1] + 1

    def next_logits(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """Scores [B, vocab] of the first token of each prompt's answer."""
        self.check(prompts, SamplingConfig())
        return np.asarray(self._read(prompts, 0, reuse=False)[0])

    def attention(self, prompt: Prompt, answer_ids: np.ndarray) -> np.ndarray:
        """Where an answer came from: float32 [tokens of the answer, n rows of the prompt].

        Row i holds the attention, mean over layers and heads, of the row that token i was predicted from. What it paid
        to earlier tokens of the answer is left out, so rows sum to less than 1.

        Args:
          prompt: What was asked.
          answer_ids: int32, at least one: what was said.
        """
        said = Prompt(np.concatenate([prompt.ids, answer_ids[:-1]]).astype(np.int32), prompt.clips)
        self.check([said], SamplingConfig())
        run = self._run([said], 0, reuse=True, last_shared=len(prompt.ids) - 1)
        weights, cache = self.decoder.attention(run.ids, run.video_tokens, run.mask, run.first, run.cache)
        self._context = Context(said.rows(), run.slots, cache)
        return np.asarray(weights)[0, -len(answer_ids) :][:, run.slots[: len(prompt.ids)]]

    def _read(self, prompts: Sequence[Prompt], room: int, reuse: bool) -> tuple[Any, Cache, list[int]]:
        """Reads prompts; returns their last scores, the cache, and the slots of the first one's rows."""
        run = self._run(prompts, room, reuse, last_shared=len(prompts[0].ids) - 1)
        logits, cache = self.decoder.read(run.ids, run.video_tokens, run.mask, run.first, run.cache)
        return logits, cache, run.slots

    def _run(self, prompts: Sequence[Prompt], room: int, reuse: bool, last_shared: int) -> "_Run":
        """What is to be read of prompts, and the cache to read it into, with ``room`` slots to spare."""
        context, self._context = (self._context, None) if reuse else (None, self._context)
        first = min(context.shared(prompts[0].rows()), last_shared) if context else 0
        length = bucket_length(max(len(prompt.ids) for prompt in prompts) - first)
        if first:
            cache, used = context.cut(first, length + room)
        else:
            cache, used = self.decoder.empty_cache(len(prompts), slot_count(length + room)), 0
        num_read, width = np.count_nonzero(prompts[0].ids[:first] == VIDEO_ID), self.config.gemma.width
        video_rows = [_video_rows(prompt, width)[num_read:] for prompt in prompts]
        video_tokens = np.zeros((len(prompts), max(map(len, video_rows)), width), np.float32)
        ids, mask = np.zeros((len(prompts), length), np.int32), np.zeros((len(prompts), length), bool)
        for i, (prompt, tokens) in enumerate(zip(prompts, video_rows, strict=True)):
            start = length - (len(prompt.ids) - first)
            ids[i, start:], mask[i, start:] = prompt.ids[first:], True
            video_tokens[i, : len(tokens)] = tokens
        new = range(used + length - (len(prompts[0].ids) - first), used + length)
        return _Run(ids, video_tokens, mask, first, cache, [*(context.slots[:first] if context else ()), *new])

    def check(self, prompts: Sequence[Prompt], sampling: SamplingConfig) -> None:
        """Raises a DataError for what cannot be asked."""
        if not prompts:
            raise DataError("there is no prompt to answer; give at least one.")
        self._check_ids("a stop id", sampling.stop_ids or ())
        for i, (ids, clips) in enumerate(prompts, 1):
            if not len(ids):
                raise DataError(f"prompt {i} is empty; give at least one token.")
            self._check_ids(f"an id of prompt {i}", ids[ids != VIDEO_ID])
            rows, tokens = np.count_nonzero(ids == VIDEO_ID), sum(len(clip.tokens) for clip in clips)
            if rows != tokens:
                raise DataError(
                    f"prompt {i} has {rows} rows for clips, but its {len(clips)} clips fill {tokens}; give one clip "
                    f"for each video mark."
                )
            if len(ids) >= self.max_length:
                raise DataError(
                    f"prompt {i} has {len(ids)} tokens, {rows} of them of its clips, but prompt and answer together "
                    f"may have {self.max_length}; shorten the conversation or begin a new one."
                )

    def _check_ids(self, what: str, ids: Sequence[int] | np.ndarray) -> None:
        largest = self.config.gemma.vocab_size - 1
        if wrong := [i for i in np.asarray(ids).tolist() if not 0 <= i <= largest]:
            raise DataError(f"{what} is {wrong[0]}, but the model's ids are 0 to {largest}.")


class _Run(NamedTuple):
    """What ``Decoder.read`` takes, and the cache slots of the first prompt's rows, those it shares included."""

    ids: np.ndarray
    video_tokens: np.ndarray
    mask: np.ndarray
    first: int
    cache: Cache
    slots: list[int]


class _Row:
    """One answer as it grows."""

    def __init__(self, number: int, budget: int, stream: TextStream, on_text: Callable[[int, str], Any] | None):
        self._number, self._budget, self._stream, self._on_text = number, budget, stream, on_text
        self.ids: list[int] = []
        self.finish_reason: Literal["stop", "length"] | None = None

    def take(self, token: int, stop_ids: frozenset[int]) -> None:
        """Takes the next token, unless the answer is over."""
        if self.finish_reason:
            return
        if token in stop_ids:
            self.finish_reason = "stop"
        else:
            self.ids.append(token)
            self._show(self._stream.push(token))
            self.finish_reason = "length" if len(self.ids) == self._budget else None
        if self.finish_reason:
            self._show(self._stream.finish())

    def answer(self) -> Answer:
        """The whole answer."""
        return Answer(np.array(self.ids, np.int32), self._stream.text, self.finish_reason)

    def _show(self, text: str) -> None:
        if text and self._on_text is not None:
            self._on_text(self._number, text)


def _video_rows(prompt: Prompt, width: int) -> np.ndarray:
    """The rows [V, D] of all of a prompt's clips; none for text alone."""
    return np.concatenate([np.zeros((0, width), np.float32), *(clip.tokens for clip in prompt.clips)])
