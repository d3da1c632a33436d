"""Evaluates an encoder on a source: retrieval over all clips and captions, grounding of every named thing.

First all captions are encoded, and of their words only one small vector per level is kept; then clips are streamed.
Batches are padded to one shape and the padding is dropped, so each clip and caption counts exactly once on any number
of devices; every process must make the same calls. A clip that cannot be decoded, has no text or is in the run's
quarantine list is left out with its captions, and is listed in the result with the reason.
"""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import Progress
from hilight_jax.data.bad_clips import read_quarantine
from hilight_jax.data.clips import ClipLoader
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.named_things import named_things
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.data.records import Record, Source
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.data.video import VideoError, decode
from hilight_jax.evals.abstract_phrases import compare_phrases, encode_rephrased
from hilight_jax.evals.grounding import MIN_VISIBLE, REACH, Grid
from hilight_jax.evals.named_words import NamedWord, WordScorer, known_things, naming_spans, word_class
from hilight_jax.evals.retrieval import RECALLS, recall_influences, retrieval_metrics
from hilight_jax.evals.similarity import word_vectors
from hilight_jax.evals.swapped_captions import compare_with_swaps, encode_swaps
from hilight_jax.models.local_heads import map_features
from hilight_jax.ops.word_scores import WORD_WEIGHT, best_cosines, mean_over_things, thing_vectors


class EncoderLike(Protocol):
    """The interface of an encoder; `stages.trained_encoder.TrainedEncoder` implements it."""

    config: Any
    level_weights: Sequence[float]
    step: int | None  # of the checkpoint that the parameters come from

    def encode_video(self, video: np.ndarray) -> Mapping[str, Any]:
        """Uint8 [B, F, Y, X, 3] to 'video_embeds' [B, E] and 'video_local', per level [B, F, P, E]."""
        ...

    def encode_text(self, text_ids: np.ndarray, text_mask: np.ndarray) -> Mapping[str, Any]:
        """[B, L] to 'text_embeds' [B, E] and 'text_local', per level [B, L, E]."""
        ...


class Captions(NamedTuple):
    """All captions of a source, encoded."""

    embeds: np.ndarray  # [num_texts, E]
    clip: np.ndarray  # [num_texts], number of the record
    number: np.ndarray  # [num_texts], number of the caption in its record
    words: list[NamedWord]
    unread_words: int  # cut off with the end of a long caption
    things: np.ndarray  # [num_things, E], unit vectors of all that the captions name, in their order
    num_things: np.ndarray  # [num_texts], things that each caption names


def evaluate_encoder(
    encoder: EncoderLike,
    source: Source,
    batch_size: int | None = None,
    num_clips: int | None = None,
    similarity: str | None = None,
    show_progress: bool = False,
    word_weight: float = WORD_WEIGHT,
    shortlist: int | None = None,
    with_phrases: bool = True,
) -> dict[str, Any]:
    """Scores retrieval in both directions and grounding, with all controls, on the first `num_clips` clips or all.

    With local heads retrieval is also scored with the words' help, see `ops/word_scores.py`: `word_weight` is their
    weight, and only a `shortlist` of so many candidates of each text is scored by them, by default all. Without
    `with_phrases` captions that differ in an abstract phrase are left out, which are up to 16 for each clip.

    Grounding needs spans in the captions and 'objects' in the labels. Its `similarity` is 'cosine' or 'dot', by default
    that of the run's local loss; `batch_size` is by default the configuration's `eval_batch_size`.

    Returns:
      `{'clips', 'captions', 'skipped': [{'id', 'reason'}], 'retrieval', 'swaps', 'abstract_phrases', 'grounding'}`, see
      `retrieval_metrics`, `compare_with_swaps` (None where the labels keep no false captions), `compare_phrases` (None
      where no captions end with abstract phrases) and `summarise_grounding`; ready for JSON. 'grounding' also has
      'levels': where several levels are tapped, the pointing of the class 'ball' by the maps of each alone.
      'influences' are those of every clip, in the order of the source, by figure (`intervals.influences`).

    Raises:
      DataError: no clip is left to evaluate.
    """
    config = encoder.config
    batch_size = batch_size or config.eval_batch_size
    similarity = similarity or default_similarity(config)
    num_clips = min(len(source), num_clips or len(source))
    data = config.data
    quarantine = read_quarantine(data.quarantine, source.name) if data.quarantine else frozenset()
    with_words = bool(config.model.local.levels)
    captions = encode_captions(encoder, source, num_clips, batch_size, similarity, quarantine)
    tokenizer = ClipTokenizer(data.text_length)
    swapped = encode_swaps(encoder.encode_text, source, num_clips, batch_size, tokenizer, quarantine)
    rephrased = None
    if with_phrases:
        rephrased = encode_rephrased(encoder.encode_text, source, num_clips, batch_size, tokenizer, quarantine)
    scorer = WordScorer(captions.words, encoder.level_weights, similarity, patch_grid(config))
    progress = Progress(num_clips, "evaluate", unit="clips") if show_progress else None
    embeds: dict[int, np.ndarray] = {}
    words: list[np.ndarray] = []
    skipped: list[int] = []
    videos_alone = dataclasses.replace(data, frame_captions=False, swaps=0)
    pipeline = Pipeline(videos_alone, source, ClipLoader(videos_alone, source, seed=0))
    with pipeline.eval_batches(batch_size) as batches:
        for batch in itertools.islice(batches, -(-num_clips // batch_size)):
            out = encoder.encode_video(batch["video"])
            wanted = (0 <= batch["index"]) & (batch["index"] < num_clips)
            if with_words:
                best = best_cosines(captions.things, map_features(out["video_local"], encoder.level_weights))
                words.append(mean_over_things(best, captions.num_things)[:, wanted & batch["valid"]])
            for row in np.flatnonzero(wanted).tolist():
                index = int(batch["index"][row])
                if not batch["valid"][row]:
                    skipped.append(index)
                    continue
                embeds[index] = out["video_embeds"][row]
                if scorer.needs(index):
                    things = known_things(source[index].labels, data.num_frames, data.image_size)
                    scorer.add(index, [level[row] for level in out["video_local"]], things)
            if progress:
                progress.update(int(wanted.sum()))
    if progress:
        progress.close()
    if not embeds:
        raise DataError(f"'{source.name}' has no clip that can be evaluated; run 'python -m hilight_jax.check' on it.")
    row_of_clip = {index: row for row, index in enumerate(embeds)}
    usable = np.array([index in embeds for index in captions.clip])
    clip_of_text = np.array([row_of_clip[index] for index in captions.clip[usable]])
    numbers = zip(captions.clip.tolist(), captions.number.tolist(), strict=True)
    by_number = dict(zip(numbers, captions.embeds, strict=True))
    settings = {"similarity": similarity, "reach": REACH, "min_visible": MIN_VISIBLE}
    videos, grounding = np.stack(list(embeds.values())), scorer.summary()
    by_video = recall_influences(videos, captions.embeds[usable], clip_of_text)
    of_clips = dict.fromkeys(range(num_clips), 0.0) | dict(zip(embeds, by_video.tolist(), strict=True))
    influences = {"text_to_video_r1": list(of_clips.values())}
    for kind, group in grounding["classes"].items():
        for name, of_kind in group.pop("influences").items():
            influences[f"{kind}_{name}"] = of_kind + [0.0] * (num_clips - len(of_kind))
    names, pointing = level_names(encoder), scorer.pointing_of_levels()
    levels = dict(zip(names, pointing, strict=True)) if pointing and len(names) > 1 else {}
    return {
        "clips": len(embeds),
        "captions": len(clip_of_text),
        "skipped": [
            {"id": source[index].id, "reason": _why_skipped(source[index], quarantine, data.num_frames)}
            for index in skipped
        ],
        "retrieval": retrieval_metrics(
            videos,
            captions.embeds[usable],
            clip_of_text,
            np.concatenate(words, axis=1)[usable] if with_words else None,
            word_weight,
            shortlist,
        ),
        "swaps": None if swapped is None else compare_with_swaps(swapped, by_number, embeds),
        "abstract_phrases": None if rephrased is None else compare_phrases(rephrased, embeds),
        "grounding": {**settings, "unread_words": captions.unread_words, **grounding, "levels": levels},
        "influences": influences,
    }


def encode_captions(
    encoder: EncoderLike,
    source: Source,
    num_clips: int,
    batch_size: int,
    similarity: str,
    quarantine: Collection[str] = (),
) -> Captions:
    """Encodes every caption of the first clips, without those in the quarantine, and the words that name things."""
    tokenizer = ClipTokenizer(encoder.config.data.text_length)
    embeds, clip_of_text, number_of_text, words, unread = [], [], [], [], 0
    weights, things_of_text = encoder.level_weights, []
    texts = _texts(source, num_clips, tokenizer, quarantine)
    while batch := list(itertools.islice(texts, batch_size)):
        rows = [tokens for *_, tokens, _ in batch] + [batch[-1][3]] * (batch_size - len(batch))
        out = encoder.encode_text(np.stack([row.ids for row in rows]), np.stack([row.mask for row in rows]))
        embeds.append(out["text_embeds"][: len(batch)])
        features = np.asarray(map_features(out["text_local"], weights))
        for row, (index, number, caption, tokens, things) in enumerate(batch):
            clip_of_text.append(index)
            number_of_text.append(number)
            things_of_text.append(thing_vectors(features[row], named_things(caption, tokens)))
            local = [level[row] for level in out["text_local"]]
            for span, positions in naming_spans(caption, tokens):
                if span.object in things and len(positions):
                    vectors = word_vectors(local, positions, similarity).astype(np.float32)
                    words.append(NamedWord(index, word_class(span), span.object, vectors))
                unread += span.object in things and not len(positions)
    stacked = np.concatenate(embeds) if embeds else np.zeros((0, 1))
    vectors = np.concatenate(things_of_text) if things_of_text else np.zeros((0, 1))
    num_things = np.array([len(named) for named in things_of_text], int)
    of_text = np.array(clip_of_text, int), np.array(number_of_text, int)
    return Captions(stacked, *of_text, words, unread, vectors, num_things)


def _texts(source, num_clips, tokenizer, quarantine):
    """Yields (clip, number of the caption, caption, tokens, names of the things whose place is known)."""
    for index in range(num_clips):
        record = source[index]
        if record.id in quarantine:
            continue
        things = set((record.labels or {}).get("objects") or {})
        for number, caption in enumerate(record.captions):
            if caption.text.strip():
                yield index, number, caption, tokenizer(caption.text), things


def headline(result: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """The figures of a result under flat names, for metrics: `validation/text_to_video_r1`, `validation/ball_pointing`.

    Every pointing figure brings its controls along. `ball` is the object balls, `cue_ball` stands beside it.
    """
    figures = {}
    for way, suffix in (("plain", ""), ("words", "_words")):
        for direction, ranks in result["retrieval"].get(way, {}).items():
            figures |= {f"{prefix}/{direction}{suffix}_r{k}": ranks[f"R@{k}"] for k in RECALLS}
            figures[f"{prefix}/{direction}{suffix}_median_rank"] = ranks["median_rank"]
    if swaps := result.get("swaps"):
        figures |= {f"{prefix}/swaps_{name}": swaps[name] for name in ("right", "other_clip")}
    if phrases := result.get("abstract_phrases"):
        names = ("right", "most_frequent", "R@1", "R@1_rephrased")
        figures |= {f"{prefix}/phrases_{name}": phrases[name] for name in names}
    names = ("pointing", "area_chance", "random_ball", "any_ball", "shuffled_word", "soft_iou")
    for (kind, group), name in itertools.product(result["grounding"]["classes"].items(), names):
        figures[f"{prefix}/{kind}_{name}"] = group[name]
    return figures


def level_names(encoder: EncoderLike) -> tuple[str, ...]:
    """Names of the levels of the encoder's local features, in their order; without local heads the last."""
    levels = tuple(encoder.config.model.local.levels)
    if levels == ("all",):
        return tuple(f"block {number}" for number in range(1, len(encoder.level_weights) + 1))
    return levels or ("last",)


def map_levels(encoder: EncoderLike) -> list[str]:
    """The levels that make up a word's map."""
    return [name for name, weight in zip(level_names(encoder), encoder.level_weights, strict=True) if weight]


def patch_grid(config: Any) -> Grid:
    """The patches of a square frame."""
    patch_size = config.model.vision.patch_size
    side = config.data.image_size // patch_size
    return Grid(side, side, patch_size)


def default_similarity(config: Any) -> str:
    """The similarity that the local loss trained: raw dot products for SPARC alone, else the cosine."""
    return "dot" if config.loss.local.contrast == "within_clip" else "cosine"


def _why_skipped(record: Record, quarantine: Collection[str], num_frames: int) -> str:
    """The reason why a clip was not used, found again, as the pipeline only marks its rows."""
    if record.id in quarantine:
        return "in the quarantine list"
    if not any(caption.text.strip() for caption in record.captions):
        return "no text"
    try:
        decode(record.video, lambda total: uniform_indices(total, num_frames))
    except VideoError as error:
        return f"not decodable: {error}"
    return "not usable when it was read, but decodable now"
