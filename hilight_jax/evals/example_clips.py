"""Clips for pages: an encoder's maps of words over held-out clips or any video, and a chat model's answered clips."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import regex

from hilight_jax.core.errors import DataError
from hilight_jax.data.annotation_files import read_json_lines
from hilight_jax.data.bad_clips import read_quarantine
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.records import Source
from hilight_jax.data.tokenizers import ClipTokenizer, Tokens
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.data.video import VideoError, decode
from hilight_jax.evals.encoder_evaluation import EncoderLike, default_similarity, patch_grid
from hilight_jax.evals.named_words import known_things, naming_spans
from hilight_jax.evals.similarity import word_maps, word_vectors
from hilight_jax.pages.chat_report import AskedClips
from hilight_jax.pages.word_maps import Example, Place, Word

# A run of letters and digits, and the marks that join them: "3-ball" and "player's" are one word each.
_WORD = regex.compile(r"[\p{L}\p{N}]+(?:['’\-][\p{L}\p{N}]+)*")


def held_out(encoder: EncoderLike, source: Source, num_clips: int = 6, num_words: int = 4) -> list[Example]:
    """Reads the first clips of a source that name visible things: each thing's first mention, with its true place.

    Raises:
      DataError: one of them cannot be decoded and is not in the run's quarantine list.
    """
    config, examples = encoder.config, []
    quarantine = read_quarantine(config.data.quarantine, source.name) if config.data.quarantine else ()
    tokenizer, grid = ClipTokenizer(config.data.text_length), patch_grid(encoder.config)
    for index in range(len(source)):
        if len(examples) == num_clips:
            break
        record = source[index]
        if record.id in quarantine or not record.captions:
            continue
        caption, tokens = record.captions[0], tokenizer(record.captions[0].text)
        things = known_things(record.labels, config.data.num_frames, config.data.image_size)
        passages, places, side = [], {}, grid.height
        for span, positions in naming_spans(caption, tokens):
            track = things.get(span.object)
            if span.object not in places and track and len(positions) and track.seen(side, side).any():
                passages.append(Passage(span.start, span.end, positions))
                places[span.object] = Place(np.stack([track.x, track.y], -1), track.radius, track.seen(side, side))
        if not passages:
            continue
        passages = passages[:num_words]
        try:
            frames = decode(record.video, lambda total: uniform_indices(total, config.data.num_frames))
        except VideoError as error:
            raise DataError(f"{source.name}, clip {record.id} cannot be drawn: {error}") from error
        frames = to_uint8_size(frames, (config.data.image_size, config.data.image_size))
        maps, _ = _maps(encoder, frames, tokens, passages)
        words = [Word(p.start, p.end, m, place) for p, m, place in zip(passages, maps, places.values(), strict=False)]
        examples.append(Example(record.id, caption.text, frames, _times(record.labels, len(frames)), words))
    return examples


def any_video(
    encoder: EncoderLike, frames: np.ndarray, model_frames: np.ndarray, text: str, name: str, notes: Sequence[str]
) -> tuple[Example, float]:
    """Draws maps of every word of a text over a video; returns them and the cosine of the whole clip and text.

    `frames`, uint8 [F, Y, X, 3], are drawn on; `model_frames`, uint8 [F, y, x, 3], are the same at the size of the
    model; `notes` has one per frame.
    """
    tokens = ClipTokenizer(encoder.config.data.text_length)(text)
    passages = whole_words(text, tokens)
    maps, cosine = _maps(encoder, model_frames, tokens, passages)
    words = [Word(passage.start, passage.end, word) for passage, word in zip(passages, maps, strict=True)]
    return Example(name, text, frames, notes, words), cosine


def asked_clips(
    answers_file: Path,
    source: ConversationSource,
    data: ConversationDataConfig,
    num_conversations: int = 6,
    num_questions: int = 4,
) -> list[AskedClips]:
    """Reads the first conversations about clips of an evaluation, each with its first answers; no model is needed.

    `evaluate` wrote the answers, one a line, in the order of the source.

    Raises:
      DataError: the file is of another source, or a clip can no longer be decoded.
    """
    if not answers_file.is_file():
        return []
    loader = ConversationLoader(data, source, seed=0)
    about_clips = (answer for _, answer in read_json_lines(str(answers_file)) if answer["clip"])
    groups = itertools.groupby(about_clips, lambda answer: answer["index"])
    examples = []
    for index, answers in itertools.islice(groups, num_conversations):
        name, answers = source.conversation(index, None).id, list(answers)[:num_questions]
        batch = loader.eval_batch(np.array([index]))
        if not batch["valid"][0] or answers[0]["id"].rpartition("#")[0] != name:
            raise DataError(
                f"{answers_file} does not fit '{source.name}', whose conversation {index} is '{name}'; evaluate again."
            )
        examples.append(AskedClips(name, list(batch["video"][0][batch["video_mask"][0]]), answers))
    return examples


class Passage(NamedTuple):
    """Characters of a text and the positions of their tokens."""

    start: int
    end: int
    tokens: np.ndarray


def whole_words(text: str, tokens: Tokens) -> list[Passage]:
    """Merges tokens into the words of the text; words that were cut off with the end of a long text are left out."""
    words = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        inside = np.flatnonzero((tokens.spans[:, 0] < end) & (tokens.spans[:, 1] > start))
        if len(inside):
            words.append(Passage(start, end, inside))
    return words


def _maps(encoder, frames, tokens, passages):
    """Maps [words, F, rows, columns] and the cosine of clip and text."""
    similarity, grid = default_similarity(encoder.config), patch_grid(encoder.config)
    text = encoder.encode_text(tokens.ids[None], tokens.mask[None])
    video = encoder.encode_video(frames[None])
    text_local, video_local = ([level[0] for level in side] for side in (text["text_local"], video["video_local"]))
    vectors = np.stack([word_vectors(text_local, passage.tokens, similarity) for passage in passages])
    maps = word_maps(video_local, vectors, encoder.level_weights, similarity)
    unit = [x[0] / np.linalg.norm(x[0]) for x in (video["video_embeds"], text["text_embeds"])]
    return maps.reshape(*maps.shape[:2], grid.rows, grid.columns), float(unit[0] @ unit[1])


def _times(labels, num_frames):
    times = np.asarray(labels["times"])[uniform_indices(len(labels["times"]), num_frames)]
    return [f"{time - times[0]:.1f} s" for time in times]
