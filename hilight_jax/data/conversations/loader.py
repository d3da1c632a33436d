"""Turns conversations into the rows of a batch: decoded clips, their key frames, token ids and labels.

A batch is padded to the shortest bucket that holds the longest conversation of the *global* batch, and has room for the
most learned tokens of one. That follows from the texts alone, so every host reads all texts of a batch and decodes the
clips of its own rows; hosts agree on all shapes without communication.

A conversation that cannot be used, because of its text or of one of its clips, is replaced by a stand-in drawn from
(seed, index). It is never trained without its clips.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import IGNORE_ID
from hilight_jax.data.bad_clips import NUM_STAND_INS, read_quarantine, with_stand_ins
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.branches import branches_of, join
from hilight_jax.data.conversations.checks import check_conversation
from hilight_jax.data.conversations.conversation import Conversation, ConversationError, load_clip
from hilight_jax.data.conversations.gemma_tokenizer import BOS_ID, GemmaTokenizer
from hilight_jax.data.conversations.phrases import Words
from hilight_jax.data.conversations.prompts import Fitted, expand, fit_context, training_example
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.data.conversations.tokens import ReadAhead, Tokens
from hilight_jax.data.conversations.words import (
    PHRASE_BUCKETS,
    PHRASE_LENGTH,
    WordFinder,
    encode_phrases,
    thing_ids,
)
from hilight_jax.data.frame_sampling import choose_key_frames
from hilight_jax.data.pickled_clips import PickleError
from hilight_jax.data.pipelines import ALL_ROWS, Batch, Places, Rows, empty_rows
from hilight_jax.data.video import VideoError

_LOG = logging.getLogger(__name__)


class ConversationLoader:
    """Makes batches from the numbers of conversations; can be sent to worker processes.

    A batch is a dict of arrays with B rows: ``video`` uint8 [B, U, F, Y, X, C], black where there is no clip, with U
    that of the conversation of the global batch with the most clips; ``video_mask`` bool [B, U]; ``key_frames`` int32
    [B, U, Fk]; ``ids`` int32, V rows ``VIDEO_ID`` for each clip and padded with 0 at the right, ``mask`` bool,
    ``labels``, ``positions`` and ``branch`` int32, all [B, L], the last two as in ``prompts.Fitted``; ``learned`` int32
    [B, R], the numbers of the tokens whose next one is learned, filled up with L - 1; ``index`` int64, ``valid``,
    ``replaced`` and ``truncated`` (the last tokens were cut) bool, all [B]. Rows that are not valid hold ``<bos>``.

    For a model with word tracks also ``thing_ids`` int32 [B, O, ids], the ids of the things' names; ``word_rows`` int32
    [B, L], the number (from 1) of the phrase that a token is part of; ``phrase_ids`` int32 and ``phrase_content`` bool
    [B, W, PHRASE_LENGTH], those phrases in CLIP's ids and the tokens among them that name something visible.
    """

    def __init__(self, config: ConversationDataConfig, source: ConversationSource, seed: int):
        """Reads the tokenizer, and the quarantine list if there is one."""
        self._config, self._source, self._seed = config, source, seed
        self._tokenizer = GemmaTokenizer(config.tokenizer)
        self._quarantine = read_quarantine(config.quarantine, source.name) if config.quarantine else frozenset()
        self._reasons: dict[int, str] = {}
        self._ahead = ReadAhead()
        self._find_words = None if config.things is None else WordFinder(self._tokenizer, config.things)

    def train_batch(self, places: Places, rows: Rows = ALL_ROWS) -> Batch:
        """Makes ``rows`` of a batch from the places of all its rows in the endless order and their numbers."""
        choices = self._all_choices(places)
        first = [self._first(choice) for choice in choices]
        wanted = np.arange(len(first))[rows].tolist()
        batch = self._empty_batch([tokens for _, tokens in first], len(wanted))
        for row, (chosen, others) in enumerate((first[number], choices[number]) for number in wanted):
            # The other rows of the batch fit into it, whatever its length.
            neighbours = ((chosen[0], tokens) for _, tokens in first)
            self._fill_first_possible(batch, row, itertools.chain([chosen], others, neighbours))
        return batch

    def lengths(self, places: Places) -> np.ndarray:
        """Returns the numbers of tokens of the conversations at these places, those of their clips counted."""
        texts = [self._first(choice)[1] for choice in self._all_choices(places)]
        self._ahead.put(zip(self._epochs(places), texts, strict=True))
        return np.array([tokens.length for tokens in texts])

    def eval_batch(self, indices: np.ndarray, rows: Rows = ALL_ROWS) -> Batch:
        """Makes ``rows`` of an evaluation batch, every conversation in its fixed form.

        Numbers past the end and conversations that cannot be used or are quarantined give rows with ``valid`` False.
        """
        texts = [self._tokens(index, None) if index < len(self._source) else None for index in indices.tolist()]
        wanted = np.arange(len(texts))[rows].tolist()
        batch = self._empty_batch([tokens for tokens in texts if tokens], len(wanted))
        for row, (index, tokens) in enumerate((int(indices[number]), texts[number]) for number in wanted):
            if index < len(self._source):
                batch["index"][row] = index
                batch["valid"][row] = tokens is not None and self._fill(batch, row, tokens)
        return batch

    def _empty_batch(self, texts: Sequence[Tokens], size: int) -> Batch:
        """Returns ``size`` rows of ``<bos>`` alone, with room for any of ``texts`` and its clips."""
        config = self._config
        longest = max((tokens.length for tokens in texts), default=1)
        length = next(bucket for bucket in config.buckets if bucket >= longest)
        clips = (size, max((tokens.num_clips for tokens in texts), default=1))
        batch = {
            "video": np.zeros((*clips, config.num_frames, config.image_size, config.image_size, 3), np.uint8),
            "video_mask": np.zeros(clips, bool),
            "key_frames": np.zeros((*clips, config.key_frames.count), np.int32),
            "ids": np.zeros((size, length), np.int32),
            "mask": np.zeros((size, length), bool),
            "labels": np.full((size, length), IGNORE_ID, np.int32),
            "positions": np.tile(np.arange(length, dtype=np.int32), (size, 1)),
            "branch": np.zeros((size, length), np.int32),
            "learned": np.full((size, _room(texts, length)), length - 1, np.int32),
            **empty_rows(size),
        }
        batch["ids"][:, 0], batch["mask"][:, 0] = BOS_ID, True
        if self._find_words is not None:
            longest = max((tokens.num_phrases for tokens in texts), default=0)
            phrases = (size, next(number for number in PHRASE_BUCKETS if number >= longest), PHRASE_LENGTH)
            batch["thing_ids"] = np.tile(thing_ids(config.things, self._tokenizer), (size, 1, 1))
            batch["word_rows"] = np.zeros((size, length), np.int32)
            batch["phrase_ids"], batch["phrase_content"] = np.zeros(phrases, np.int32), np.zeros(phrases, bool)
        return batch

    def _all_choices(self, places: Places) -> list[Iterator[tuple[int, Tokens]]]:
        pairs = zip(places[1].tolist(), self._epochs(places), strict=True)
        return [self._choices(index, epoch) for index, epoch in pairs]

    def _epochs(self, places: Places) -> list[int]:
        return (places[0] // len(self._source)).tolist()

    def _choices(self, index: int, epoch: int) -> Iterator[tuple[int, Tokens]]:
        """Yields the conversations of usable text that may fill a row, best first, each with the requested number.

        A quarantined conversation is skipped for its next stand-in, which counts as the requested one. A conversation
        that cannot be used is replaced too; the row keeps its number.
        """
        asked = None
        for candidate in with_stand_ins(index, self._seed, len(self._source)):
            tokens = self._ahead.take(epoch, candidate)
            tokens = tokens or self._tokens(candidate, np.random.default_rng((self._seed, epoch, candidate)))
            if tokens is None and candidate not in self._reasons:
                continue  # Quarantined.
            asked = candidate if asked is None else asked
            if tokens is not None:
                yield asked, tokens

    def _first(self, choices: Iterator[tuple[int, Tokens]]) -> tuple[int, Tokens]:
        """Returns the best of a row's choices."""
        first = next(choices, None)
        if first is None:
            raise self._nothing_usable()
        return first

    def _nothing_usable(self) -> DataError:
        reasons = list(self._reasons.values())
        reason = f"the last because {reasons[-1]}" if reasons else "all are quarantined"
        return DataError(
            f"{self._source.name}: none of {NUM_STAND_INS + 1} conversations can be used ({reason.rstrip('.')}); "
            f"run 'python -m hilight_jax.check {self._source.name}'."
        )

    def _fill_first_possible(self, batch: Batch, row: int, choices: Iterator[tuple[int, Tokens]]) -> None:
        for asked, tokens in choices:
            fits = tokens.length <= batch["ids"].shape[1] and tokens.num_clips <= batch["video"].shape[1]
            fits = fits and len(tokens.learned) <= batch["learned"].shape[1]
            fits = fits and ("phrase_ids" not in batch or tokens.num_phrases <= batch["phrase_ids"].shape[1])
            if fits and self._fill(batch, row, tokens):
                batch["index"][row], batch["replaced"][row] = asked, tokens.index != asked
                batch["valid"][row] = True
                return
        raise self._nothing_usable()

    def _tokens(self, index: int, rng: np.random.Generator | None) -> Tokens | None:
        """Returns a conversation's tokens; None if it is quarantined, or cannot be used and the reason is noted.

        One of which a branch cannot be used cannot be used.
        """
        config = self._config
        conversation = self._source.conversation(index, rng)
        if conversation.id in self._quarantine:
            return None
        branches = branches_of(conversation)
        try:
            parts = [tokenize_conversation(branch, self._tokenizer, config) for branch in branches]
        except ConversationError as error:
            self._note(index, conversation, error)
            return None
        words = [self._words(part.ids) for part in parts]
        if len(branches) > 1:
            return Tokens(index, conversation, *join(parts, words, config.max_length))
        return Tokens(index, conversation, parts[0], words[0])

    def _words(self, ids: np.ndarray) -> Words:
        """Returns what ids name, nothing where no word has a track."""
        return Words(np.zeros(len(ids), np.int32), ()) if self._find_words is None else self._find_words(ids)

    def _fill(self, batch: Batch, row: int, tokens: Tokens) -> bool:
        """Fills a row and returns True, or leaves the row unchanged, notes the reason, and returns False."""
        config, clips = self._config, []
        try:
            for clip in tokens.conversation.videos:
                clips.append(load_clip(clip, config.num_frames, config.image_size))
        except (VideoError, PickleError) as error:
            self._note(tokens.index, tokens.conversation, error)
            return False
        for place, frames in enumerate(clips):
            batch["video"][row, place], batch["video_mask"][row, place] = frames, True
            batch["key_frames"][row, place] = choose_key_frames(config.key_frames, frames)
        length = tokens.length
        batch["ids"][row, :length], batch["labels"][row, :length] = tokens.fitted.ids, tokens.fitted.labels
        batch["mask"][row, :length] = True
        learned = tokens.learned
        batch["learned"][row, : len(learned)] = learned
        batch["truncated"][row] = bool(tokens.fitted.cut)
        batch["positions"][row, :length], batch["branch"][row, :length] = tokens.fitted.positions, tokens.fitted.branch
        if self._find_words is not None:
            batch["word_rows"][row, :length] = tokens.words.rows
            found = slice(0, tokens.num_phrases)
            batch["phrase_ids"][row, found], batch["phrase_content"][row, found] = encode_phrases(tokens.words.phrases)
        return True

    def _note(self, index: int, conversation: Conversation, error: DataError) -> None:
        """Notes why a conversation cannot be used, and logs it the first time."""
        if index not in self._reasons:
            _LOG.warning("%s, conversation %s cannot be used: %s", self._source.name, conversation.id, error)
        self._reasons[index] = str(error)


def _room(texts: Sequence[Tokens], length: int) -> int:
    """The room for the learned tokens of conversations: nearly half of ``length``, or all, so that few are compiled.

    One less than that: the loss adds a row, and works in chunks that divide the lengths of batches.
    """
    most = max((len(tokens.learned) for tokens in texts), default=0)
    return max(length // 2 - 1, 1) if most < length // 2 else max(length - 1, 1)


def tokenize_conversation(
    conversation: Conversation, tokenizer: GemmaTokenizer, config: ConversationDataConfig
) -> Fitted:
    """Checks a conversation and makes its ids and labels, V rows for each clip, cut to ``max_length``.

    Raises:
      ConversationError: It cannot be used, for the reason in the message.
    """
    check_number_of_clips(conversation, config)
    check_conversation(conversation, tokenizer, config.num_video_tokens, config.max_length)
    example = training_example(conversation.turns, len(conversation.videos), tokenizer)
    return fit_context(*expand(*example, config.num_video_tokens), config.max_length)


def check_number_of_clips(conversation: Conversation, config: ConversationDataConfig) -> None:
    """Refuses a conversation about more clips than a row has room for.

    Raises:
      ConversationError: It has more than ``config.max_videos`` clips.
    """
    if len(conversation.videos) > config.max_videos:
        raise ConversationError(
            f"it has {len(conversation.videos)} clips, but config.data.max_videos is {config.max_videos}; raise it or "
            "take some out."
        )
