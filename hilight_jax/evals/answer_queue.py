"""Prompts that are answered in batches of one size."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Prompt = TypeVar("Prompt")


class AnswerQueue(Generic[Prompt]):
    """Collects prompts; an answer is read by the ticket that `add` gave."""

    def __init__(self, answer: Callable[[Sequence[Prompt]], Sequence[str]], batch_size: int):
        """Calls ``answer`` with ``batch_size`` prompts at a time, less only if there are less in all."""
        self._answer, self._batch_size = answer, batch_size
        self._waiting: list[Prompt] = []
        self._texts: list[str] = []

    def add(self, prompt: Prompt) -> int:
        """Takes a prompt and returns the ticket of its answer."""
        self._waiting.append(prompt)
        ticket = len(self._texts) + len(self._waiting) - 1
        if len(self._waiting) == self._batch_size:
            self._flush()
        return ticket

    def texts(self) -> list[str]:
        """All answers, by ticket."""
        if self._waiting:
            self._flush()
        return self._texts

    def _flush(self) -> None:
        count = len(self._waiting)
        if self._texts:  # The last batch has the shape of those before it, which need not be compiled again.
            self._waiting += self._waiting[-1:] * (self._batch_size - count)
        self._texts += list(self._answer(self._waiting))[:count]
        self._waiting = []
