"""The tokens of a conversation that can be used, and those that were read ahead of their batch."""

import threading
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from hilight_jax.core.shapes import IGNORE_ID
from hilight_jax.data.conversations.conversation import Conversation
from hilight_jax.data.conversations.phrases import Words
from hilight_jax.data.conversations.prompts import Fitted


class Tokens(NamedTuple):
    """A conversation whose text can be used: its number, the conversation, its tokens and what its words name."""

    index: int
    conversation: Conversation
    fitted: Fitted
    words: Words

    @property
    def length(self) -> int:
        """Returns the number of tokens, those of the clips counted."""
        return len(self.fitted.ids)

    @property
    def learned(self) -> np.ndarray:
        """Returns the numbers of the tokens whose next one is learned."""
        return np.flatnonzero(self.fitted.labels[1:] != IGNORE_ID)

    @property
    def num_phrases(self) -> int:
        """Returns the number of different phrases that name something."""
        return len(self.words.phrases)

    @property
    def num_clips(self) -> int:
        """Returns the clips that a row must have room for, at least one."""
        return max(1, len(self.conversation.videos))


class ReadAhead:
    """The tokens of conversations that were read for their lengths, until they are taken, each once.

    Threads may share it. In another process it starts empty.
    """

    def __init__(self):
        """Starts empty."""
        self._kept, self._lock = dict[tuple[int, int], Tokens](), threading.Lock()

    def put(self, run: Iterable[tuple[int, Tokens]]) -> None:
        """Keeps the conversations of a run, each as it is in an epoch, and of all earlier runs as many as this one has.

        Of a conversation itself only the name and the clips stay; its tokens hold the rest.
        """
        with self._lock:
            before = len(self._kept)
            for epoch, tokens in run:
                bare = tokens.conversation._replace(turns=(), types=(), notes=(), labels=(), branches=())
                self._kept[epoch, tokens.index] = tokens._replace(conversation=bare)
            new = len(self._kept) - before
            for place in list(self._kept)[: max(before - new, 0)]:
                del self._kept[place]

    def take(self, epoch: int, index: int) -> Tokens | None:
        """The tokens of conversation ``index``, if they are there."""
        with self._lock:
            return self._kept.pop((epoch, index), None)

    def __reduce__(self) -> tuple:
        """Leaves out the lock, which cannot be sent, and what is kept."""
        return ReadAhead, ()
