"""Reads every conversation of some sources, with its clips, before training, and reports unusable and cut ones."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hilight_jax.data import video
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.checks import check_conversation
from hilight_jax.data.conversations.conversation import Conversation, ConversationError, PickledClip
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.loader import check_number_of_clips, tokenize_conversation
from hilight_jax.data.conversations.sources import ConversationSource, open_conversations
from hilight_jax.data.inspection import Finding, VideoFacts, hash_video, inspect_all, inspect_video, video_findings
from hilight_jax.data.pickled_clips import PickleError, read_pickled_clip


class ConversationFacts(NamedTuple):
    """Facts about one conversation.

    Attributes:
      id: The conversation's id.
      refusal: The reason why its text cannot be used, or an empty string.
      cut: A sentence about the part that is cut off, or an empty string.
      num_answers: Answers to learn.
      length: Tokens that are learned from, those of the clips counted; 0 without a tokenizer.
      clips: Its clips.
    """

    id: str
    refusal: str
    cut: str
    num_answers: int
    length: int
    clips: tuple[VideoFacts, ...]


class ConversationReport(NamedTuple):
    """All facts about one source, in the order of its conversations."""

    name: str
    facts: list[ConversationFacts]

    def summary(self) -> dict[str, Any]:
        """Returns counts and lengths as plain numbers."""
        usable = [f for f in self.facts if not f.refusal and not any(clip.error for clip in f.clips)]
        return {
            "source": self.name,
            "conversations": len(self.facts),
            "usable": len(usable),
            "answers": sum(facts.num_answers for facts in self.facts),
            "clips": sum(len(facts.clips) for facts in self.facts),
            "most_clips": max((len(facts.clips) for facts in self.facts), default=0),
            "longest_tokens": max((facts.length for facts in self.facts), default=0),
        }


def inspect_conversations(
    specification: str, data: ConversationDataConfig, num_workers: int, time_limit: float
) -> ConversationReport:
    """Checks all conversations of a source, and decodes their clips, in worker processes.

    The clips of one conversation have ``time_limit`` seconds. Without a tokenizer in ``data``, which has the sizes to
    measure against, checks of tokens are left out.
    """
    source = open_conversations(specification)

    def lost(index: int, reason: str) -> ConversationFacts:
        return ConversationFacts(source.conversation(index, None).id, "", "", 0, 0, (VideoFacts("", reason, None),))

    facts = inspect_all(source, _Inspector(specification, data), lost, "conversations", num_workers, time_limit)
    return ConversationReport(specification, facts)


def conversation_findings(reports: Sequence[ConversationReport], num_frames: int = 1) -> Iterator[Finding]:
    """Yields the faults within the sources, and every conversation about a clip that another source has too."""
    first_with: dict[str, str] = {}
    for report in reports:
        for facts in report.facts:
            if facts.refusal:
                yield Finding("bad conversation", report.name, facts.id, facts.refusal)
            if facts.cut:
                yield Finding("long conversation", report.name, facts.id, facts.cut)
            for clip in facts.clips:
                yield from video_findings(report.name, facts.id, clip, num_frames)
            hashes = [clip.hash for clip in facts.clips if clip.hash and not clip.error]
            others = {first_with.setdefault(name, report.name) for name in hashes} - {report.name}
            if others:
                reason = f"shows a clip that is also in {', '.join(sorted(others))}."
                yield Finding("duplicate video between sources", report.name, facts.id, reason)


class _Inspector:
    """Returns facts by number; opens the source once in each worker, and reads a shared clip once."""

    def __init__(self, specification: str, data: ConversationDataConfig):
        self._specification, self._data = specification, data
        self._source: ConversationSource | None = None
        self._tokenizer: GemmaTokenizer | None = None
        self._known: dict[str, VideoFacts] = {}

    def __call__(self, index: int) -> ConversationFacts:
        if self._source is None:
            self._source = open_conversations(self._specification)
            self._tokenizer = GemmaTokenizer(self._data.tokenizer) if self._data.tokenizer else None
        conversation = self._source.conversation(index, None)
        refusal, cut, length = self._text(conversation)
        clips = tuple(self._clip(clip) for clip in conversation.videos)
        num_answers = sum(turn.role == "model" for turn in conversation.turns)
        return ConversationFacts(conversation.id, refusal, cut, num_answers, length, clips)

    def _text(self, conversation: Conversation) -> tuple[str, str, int]:
        """Returns the refusal of a conversation, the cut and the length."""
        data = self._data
        try:
            if self._tokenizer is None:
                check_number_of_clips(conversation, data)
                check_conversation(conversation, None, data.num_video_tokens, data.max_length)
                return "", "", 0
            fitted = tokenize_conversation(conversation, self._tokenizer, data)
        except ConversationError as error:
            return str(error), "", 0
        return "", fitted.cut, len(fitted.ids)

    def _clip(self, clip: video.Video | PickledClip) -> VideoFacts:
        if isinstance(clip, bytes):
            return _inspect_clip(clip)
        path = os.fspath(clip.path if isinstance(clip, PickledClip) else clip)
        if path not in self._known:
            self._known[path] = _inspect_clip(clip)
        return self._known[path]


def _inspect_clip(clip: video.Video | PickledClip) -> VideoFacts:
    if not isinstance(clip, PickledClip):
        return inspect_video(clip)
    error = ""
    try:
        read_pickled_clip(clip.path)
    except PickleError as exception:
        error = str(exception)
    return VideoFacts(hash_video(clip.path), error, None)
