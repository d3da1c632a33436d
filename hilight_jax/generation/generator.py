"""Answers batches of prompts of unequal lengths: reads them at once and continues token by token."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import Tree
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.words import encode_things
from hilight_jax.generation.clip_features import ClipEncoder
from hilight_jax.generation.language_model import LanguageModel, PrefixCache, bucket_length, slot_count
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig, row_keys, sample, token_log_probs
from hilight_jax.generation.streaming import AnswerState
from hilight_jax.generation.word_carrier import WordCarrier
from hilight_jax.models.gemma_decoding import Cache
from hilight_jax.models.hilight_config import HiLightConfig


class Answer(NamedTuple):
    """A finished answer.

    Attributes:
      ids: int32, without the stop token.
      text: The decoded ids.
      finish_reason: ``stop`` after a stop token, ``length`` where the answer was cut.
      log_probs: float32 [n, or n + 1 after a stop token], the log-probabilities of the ids and of the stop token.
      at_temperatures: float32 [temperatures], the log-probability of the whole answer at each that was asked for.
    """

    ids: np.ndarray
    text: str
    finish_reason: Literal["stop", "length"]
    log_probs: np.ndarray
    at_temperatures: np.ndarray = np.zeros(0, np.float32)

    @property
    def confidence(self) -> float:
        """The probability of the whole answer, its stop token included."""
        return float(np.exp(self.log_probs.sum()))


class Generator:
    """A chat model that answers prompts.

    A prompt's answer does not depend on the batch it is in. Programs are compiled when they are first needed, one for
    each of a few lengths.

    Attributes:
      config: Sizes of the model.
      tokenizer: Its tokenizer.
      max_length: Tokens of a prompt and its answer together.
      language_model: Gemma and its cache.
      words: Finds what the words of a prompt carry; None without word tracks.
      encode_clip: Encodes a clip, or finds its features among those of the latest clips.
      confidence_temperature: Divides the scores before the softmax that gives tokens their log-probabilities, see
        ``evals/calibration.py``; 1 where none was fitted.
    """

    def __init__(
        self,
        config: HiLightConfig,
        params: Tree,
        tokenizer: GemmaTokenizer,
        max_length: int,
        confidence_temperature: float = 1.0,
        things: Sequence[str] | None = None,
    ):
        """Puts the parameters on the device.

        Args:
          config: Sizes of the model.
          params: Its parts (vision, frames, token_mining, gemma and perhaps lora), layers stacked. Device arrays are
            shared; unaligned numpy arrays are copied, so drop them afterwards.
          tokenizer: Its tokenizer.
          max_length: Tokens of a prompt and its answer together, those of clips included.
          confidence_temperature: As fitted on held-out clips.
          things: The domain's things (``config.data.things``) of a model with word tracks; None of another.

        Raises:
          ConfigError: The tokenizer has more ids than the model, or things are given without word tracks or lacking.
        """
        if tokenizer.vocab_size > config.gemma.vocab_size:
            raise ConfigError(
                f"the tokenizer has {tokenizer.vocab_size} pieces, but the model has {config.gemma.vocab_size}; give "
                f"the tokenizer.model that the model was trained with."
            )
        if (things is None) != (config.word_tracks is None):
            raise ConfigError(
                f"the model has {'no' if config.word_tracks is None else ''} word tracks, but its things are "
                f"{things!r:.60}; give those of its config.data.things."
            )
        self.config, self.tokenizer, self.max_length = config, tokenizer, max_length
        self.language_model = LanguageModel(config, params)
        self.words = None if things is None else WordCarrier(config, params, tokenizer, things)
        self.encode_clip = ClipEncoder(config, params, None if things is None else encode_things(things, tokenizer))
        self.confidence_temperature = confidence_temperature
        self._prefix: PrefixCache | None = None

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingConfig = SamplingConfig(),
        on_text: Callable[[int, str], Any] | None = None,
        *,
        reuse_prefix: bool = False,
        temperatures: Sequence[float] = (),
    ) -> list[Answer]:
        """Answers prompts, all in one batch.

        Args:
          prompts: At least one.
          sampling: The choice of tokens.
          on_text: Called as ``on_text(number of the prompt, text)`` with every new piece of an answer.
          reuse_prefix: For a conversation: reads the only prompt from its first difference to the last one that was
            answered with ``reuse_prefix``. The scores then depend, within rounding, on the earlier prompts.
          temperatures: Further temperatures to compute the log-probabilities of the whole answers at.

        Raises:
          DataError: A prompt is empty, has rows for other clips than it has, has ids beyond the vocabulary, or leaves
            no room for an answer.
        """
        self.check(prompts, sampling)
        answers = [self.begin_answer(prompt, sampling) for prompt in prompts]
        max_steps = max(answer.budget for answer in answers)
        reuse = reuse_prefix and len(prompts) == 1
        logits, cache, slots = self._read(prompts, max_steps, reuse)
        keys = row_keys(sampling, [prompt.ids for prompt in prompts])
        positions = np.array([len(prompt.ids) for prompt in prompts], np.int32)
        scored_at = np.array([self.confidence_temperature, *temperatures], np.float32)
        log_probs: list[list[np.ndarray]] = [[] for _ in prompts]
        for step in range(max_steps):
            ids = sample(logits, [keys], [step] * len(prompts), [sampling] * len(prompts))
            scored = np.asarray(token_log_probs(logits, ids, scored_at))
            for row, token in enumerate(np.asarray(ids).tolist()):
                if answers[row].finish_reason:
                    continue
                log_probs[row].append(scored[row])
                text = answers[row].push(token)
                if text and on_text is not None:
                    on_text(row, text)
            if all(answer.finish_reason for answer in answers):
                break
            logits, cache = self.language_model.read_one(ids, positions + step, cache)
            slots.append(slots[-1] + 1)
        if reuse:
            self._prefix = PrefixCache([*self._keys(prompts[0]), *answers[0].ids][: len(slots)], slots, cache)
        return [_finished(answer, np.stack(scored)) for answer, scored in zip(answers, log_probs, strict=True)]

    def begin_answer(self, prompt: Prompt, sampling: SamplingConfig, stop_strings: Sequence[str] = ()) -> AnswerState:
        """Starts the answer to a prompt, which ends at a stop token, a stop string or the end of the context."""
        budget = min(sampling.max_new_tokens, self.max_length - len(prompt.ids))
        stop_ids = self.tokenizer.stop_ids if sampling.stop_ids is None else sampling.stop_ids
        return AnswerState(self.tokenizer, budget, frozenset(stop_ids), stop_strings)

    def read_prompt(self, prompt: Prompt) -> tuple[Any, Cache, int]:
        """Reads one prompt by itself; returns scores [1, vocab], the cache and the number of slots written."""
        logits, cache, slots = self._read([prompt], 0, reuse=False)
        return logits, cache, slots[-1] + 1

    def next_logits(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """Scores [B, vocab] the first token of each prompt's answer."""
        self.check(prompts, SamplingConfig())
        return np.asarray(self._read(prompts, 0, reuse=False)[0])

    def contributions(self, prompt: Prompt, answer_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Computes what the rows of a prompt contribute to an answer, as shares.

        A row's share is that of the gradient of the answer's log-probability times the row's vector, without its sign.
        Rows of the answer itself have shares too, which are left out, so all others sum to less than 1.

        Args:
          prompt: The prompt.
          answer_ids: int32, at least one.

        Returns:
          float32 [n] each: the shares of the n rows' own vectors, and those of what they carry of the clips.
        """
        whole = Prompt(np.concatenate([prompt.ids, answer_ids[:-1]]).astype(np.int32), prompt.clips)
        self.check([whole], SamplingConfig())
        run = self._prepare([whole], 0, reuse=False, last_shared=0)
        answer = np.full((1, min(bucket_length(len(answer_ids)), run.ids.shape[1])), -1, np.int32)
        answer[0, -len(answer_ids) :] = answer_ids
        inputs = run.ids, run.video_tokens, run.carried, run.mask
        own, carried = (np.asarray(x)[0, run.slots] for x in self.language_model.contributions(*inputs, answer))
        total = max(float(own.sum() + carried.sum()), np.finfo(np.float32).tiny)
        return own[: len(prompt.ids)] / total, carried[: len(prompt.ids)] / total

    def _read(self, prompts: Sequence[Prompt], room: int, reuse: bool) -> tuple[Any, Cache, list[int]]:
        """Reads prompts; returns their last scores, the cache, and the slots of the first one's rows."""
        run = self._prepare(prompts, room, reuse, last_shared=len(prompts[0].ids) - 1)
        logits, cache = self.language_model.read(*run.arguments)
        return logits, cache, run.slots

    def _prepare(self, prompts: Sequence[Prompt], room: int, reuse: bool, last_shared: int) -> "_Run":
        """Pads the unread rows of prompts, and makes the cache to read them into, with ``room`` slots to spare."""
        prefix, self._prefix = (self._prefix, None) if reuse else (None, self._prefix)
        first = min(prefix.shared_length(self._keys(prompts[0])), last_shared) if prefix else 0
        length = bucket_length(max(len(prompt.ids) for prompt in prompts) - first)
        if first:
            cache, used = prefix.truncate(first, length + room)
        else:
            cache, used = self.language_model.empty_cache(len(prompts), slot_count(length + room)), 0
        num_read, width = np.count_nonzero(prompts[0].ids[:first] == VIDEO_ID), self.config.gemma.width
        video_rows = [
            np.concatenate([np.zeros((0, width), np.float32), *(clip.tokens for clip in prompt.clips)])[num_read:]
            for prompt in prompts
        ]
        video_tokens = np.zeros((len(prompts), max(map(len, video_rows)), width), np.float32)
        ids, mask = np.zeros((len(prompts), length), np.int32), np.zeros((len(prompts), length), bool)
        carried = None if self.words is None else np.zeros((len(prompts), length, width), np.float32)
        for i, (prompt, tokens) in enumerate(zip(prompts, video_rows, strict=True)):
            start = length - (len(prompt.ids) - first)
            ids[i, start:], mask[i, start:] = prompt.ids[first:], True
            video_tokens[i, : len(tokens)] = tokens
            if self.words is not None:
                carried[i, start:] = self.words(prompt.ids, prompt.clips)[first:]
        new = range(used + length - (len(prompts[0].ids) - first), used + length)
        slots = [*(prefix.slots[:first] if prefix else ()), *new]
        return _Run(ids, video_tokens, carried, mask, first, cache, slots)

    def _keys(self, prompt: Prompt) -> list[Any]:
        """A key for each row that compares prompts: its id or its clip, and the phrase that a word is part of."""
        if self.words is None:
            return prompt.rows()
        pairs = zip(prompt.rows(), self.words.keys(prompt.ids), strict=True)
        return [(row, phrase) if phrase else row for row, phrase in pairs]  # Answers' ids are keys as they are.

    def check(self, prompts: Sequence[Prompt], sampling: SamplingConfig) -> None:
        """Raises a DataError unless the prompts can be answered."""
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


def _finished(answer: AnswerState, log_probs: np.ndarray) -> Answer:
    """Ends an answer whose tokens, a stop token included, have these log-probabilities [tokens, 1 + temperatures]."""
    ids = np.array(answer.ids, np.int32)
    return Answer(ids, answer.text, answer.finish_reason, log_probs[:, 0], log_probs[:, 1:].sum(axis=0))


class _Run(NamedTuple):
    """Arguments of ``LanguageModel.read``, and the slots of all rows of the first prompt, shared ones included."""

    ids: np.ndarray
    video_tokens: np.ndarray
    carried: np.ndarray | None
    mask: np.ndarray
    first: int
    cache: Cache
    slots: list[int]

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All but the slots."""
        return self[:-1]
