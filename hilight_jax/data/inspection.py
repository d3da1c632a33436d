"""Reads every record of some sources before training, and reports unusable, damaged and repeated ones."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from hilight_jax.core.progress import Progress
from hilight_jax.data import video
from hilight_jax.data.records import Record, Source
from hilight_jax.data.sources import open_source
from hilight_jax.data.timed_workers import map_timed
from hilight_jax.data.tokenizers import encode

# Kinds of findings that make a record unusable; it belongs on the quarantine list.
UNUSABLE = ("undecodable video", "no text", "bad conversation")
_SHOWN_CHARACTERS = 60
T = TypeVar("T")


class VideoFacts(NamedTuple):
    """Facts about one clip: SHA-256 of its file, why it cannot be read, and the video's facts (None for arrays)."""

    hash: str
    error: str
    info: video.VideoInfo | None


class Facts(NamedTuple):
    """Facts about one record.

    Attributes:
      id: The record's id.
      video: Its video.
      texts: The captions.
      frame_texts: The caption of one frame, if there is one.
      lengths: Tokens of each caption and frame caption, start and end included.
    """

    id: str
    video: VideoFacts
    texts: tuple[str, ...]
    frame_texts: tuple[str, ...]
    lengths: tuple[int, ...]


class Finding(NamedTuple):
    """One fault: its kind, the source and the record, and a sentence."""

    kind: str
    source: str
    id: str
    reason: str


class SourceReport(NamedTuple):
    """All facts about one source, in the order of its records."""

    name: str
    facts: list[Facts]

    def summary(self) -> dict[str, Any]:
        """Returns counts, frames, seconds and text lengths as plain numbers."""
        infos = [facts.video.info for facts in self.facts if facts.video.info]
        seconds = [info.seconds for info in infos]
        lengths = [length for facts in self.facts for length in facts.lengths]
        return {
            "source": self.name,
            "videos": len(self.facts),
            "decodable": len(infos),
            "hours": sum(seconds) / 3600,
            "shortest_seconds": min(seconds, default=0.0),
            "longest_seconds": max(seconds, default=0.0),
            "fewest_frames": min((info.num_frames for info in infos), default=0),
            "sizes": sorted({f"{info.width}x{info.height}" for info in infos}),
            "texts": len(lengths),
            "longest_text_tokens": max(lengths, default=0),
        }


def inspect_source(specification: str, num_workers: int, time_limit: float) -> SourceReport:
    """Decodes all videos of a source in worker processes and tokenises its texts."""
    source = open_source(specification)

    def lost(index: int, reason: str) -> Facts:
        return _facts(source[index], VideoFacts("", reason, None))

    facts = inspect_all(source, _Inspector(specification), lost, "videos", num_workers, time_limit)
    return SourceReport(specification, facts)


def inspect_all(
    source: Any,
    inspect: Callable[[int], T],
    lost: Callable[[int, str], T],
    unit: str,
    num_workers: int,
    time_limit: float,
) -> list[T]:
    """Returns the facts about every example of a source: ``inspect(number)``, called in worker processes.

    Those about one that was not read in time, or that ended its worker, are ``lost(number, reason)``.
    """
    progress = Progress(len(source), f"checking {source.name}:", unit=unit)
    facts: dict[int, T] = {}
    for outcome in map_timed(inspect, range(len(source)), num_workers, time_limit):
        facts[outcome.item] = lost(outcome.item, outcome.failure) if outcome.failure else outcome.result
        progress.update()
    progress.close()
    return [facts[index] for index in range(len(source))]


def findings(reports: Sequence[SourceReport], text_length: int, num_frames: int = 1) -> Iterator[Finding]:
    """Yields the faults within and between sources, for texts of L = ``text_length`` tokens and clips of F frames."""
    for report in reports:
        for facts in report.facts:
            yield from _findings_of_one(report.name, facts, text_length, num_frames)
    by_video: dict[str, list[tuple[str, str]]] = defaultdict(list)
    by_text: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for report in reports:
        for facts in report.facts:
            if facts.video.hash and not facts.video.error:
                by_video[facts.video.hash].append((report.name, facts.id))
            for text in {" ".join(text.lower().split()) for text in facts.texts if text.strip()}:
                by_text[text].append((report.name, facts.id))
    yield from _repeats("duplicate video", by_video, "the same file as")
    yield from _repeats("duplicate text", by_text, "shares a text with")


def video_findings(source: str, record_id: str, facts: VideoFacts, num_frames: int) -> Iterator[Finding]:
    """Yields the faults of one video: it cannot be decoded, part of it is lost, or it is short."""
    info = facts.info
    if facts.error:
        yield Finding("undecodable video", source, record_id, facts.error)
    elif info and info.num_undecodable:
        reason = f"{info.num_undecodable} of its packets do not decode; the {info.num_frames} others are used."
        yield Finding("damaged video", source, record_id, reason)
    elif info and info.loss:
        yield Finding("damaged video", source, record_id, info.loss)
    if info and info.num_frames < num_frames:
        reason = f"a clip of {num_frames} frames repeats some of its {info.num_frames}."
        yield Finding("short video", source, record_id, reason)


def inspect_video(clip: video.Video) -> VideoFacts:
    """Decodes and hashes a video."""
    try:
        info, error = video.inspect(clip), ""
    except video.VideoError as exception:
        info, error = None, str(exception)
    return VideoFacts(hash_video(clip), error, info)


def hash_video(clip: video.Video) -> str:
    """Returns the SHA-256 of a video file, or an empty string when it cannot be read."""
    if isinstance(clip, bytes):
        return hashlib.sha256(clip).hexdigest()
    try:
        with open(clip, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # ValueError: the system accepts no such name.
        return ""


class _Inspector:
    """Returns facts by number; opens the source once in each worker."""

    def __init__(self, specification: str):
        self._specification = specification
        self._source: Source | None = None

    def __call__(self, index: int) -> Facts:
        if self._source is None:
            self._source = open_source(self._specification)
        record = self._source[index]
        return _facts(record, inspect_video(record.video))


def _facts(record: Record, video_facts: VideoFacts) -> Facts:
    texts = tuple(caption.text for caption in record.captions)
    frame_texts = (record.frame_caption.caption.text,) if record.frame_caption else ()
    lengths = tuple(len(encode(text)[0]) + 2 for text in texts + frame_texts)
    return Facts(record.id, video_facts, texts, frame_texts, lengths)


def _findings_of_one(source: str, facts: Facts, text_length: int, num_frames: int) -> Iterator[Finding]:
    yield from video_findings(source, facts.id, facts.video, num_frames)
    if not any(text.strip() for text in facts.texts):
        yield Finding("no text", source, facts.id, "it has no text that is not empty.")
    elif not all(text.strip() for text in facts.texts):
        yield Finding("empty text", source, facts.id, "one of its texts is empty and will not be used.")
    for text, length in zip(facts.texts + facts.frame_texts, facts.lengths, strict=True):
        if length > text_length:
            reason = f"a text of {length} tokens will be cut to {text_length}: {text[:_SHOWN_CHARACTERS]!r}..."
            yield Finding("long text", source, facts.id, reason)


def _repeats(kind: str, places: dict[str, list[tuple[str, str]]], relation: str) -> Iterator[Finding]:
    """Yields a finding for each further place of a video or text; its kind states whether the sources differ."""
    for (first_source, first_id), *others in places.values():
        for source, clip_id in others:
            where = "" if source == first_source else " between sources"
            other = first_id if source == first_source else f"{first_id} of {first_source}"
            yield Finding(kind + where, source, clip_id, f"{relation} {other}.")
