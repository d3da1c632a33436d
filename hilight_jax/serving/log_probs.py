"""Log-probabilities of an answer's tokens: computed when a token is chosen, and sent in OpenAI's form.

They are those of the softmax of all scores over the model's confidence temperature, whatever the temperature and the
limits of the request, and do not depend on the other rows of the engine.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.generation.sampling import most_likely, token_log_probs

# The most alternatives of OpenAI's protocol, and the only number that a program is compiled for.
MAX_ALTERNATIVES = 20


class ScoredToken(NamedTuple):
    """A token of an answer, or the one that ended it.

    Attributes:
      id: The token.
      log_prob: Its log-probability.
      alternatives: The most likely tokens in its place and their log-probabilities, the best first.
    """

    id: int
    log_prob: float
    alternatives: tuple[tuple[int, float], ...] = ()


def score_tokens(
    logits: Float[Array, "rows vocab"], ids: Int[Array, " rows"], temperature: float, wanted: Sequence[int | None]
) -> list[ScoredToken | None]:
    """Scores the chosen token of every row; None, and no work, for rows that want no log-probabilities.

    Args:
      logits: Scores.
      ids: The chosen tokens.
      temperature: The model's confidence temperature.
      wanted: The number of alternatives of each row, at most ``MAX_ALTERNATIVES``; None for no log-probabilities.
    """
    if all(count is None for count in wanted):
        return [None] * len(wanted)
    log_probs = np.asarray(token_log_probs(logits, ids, np.array([temperature], np.float32)))[:, 0].tolist()
    best: list[list[tuple[int, float]]] = [[] for _ in wanted]
    if any(wanted):
        found = most_likely(logits, np.float32(temperature), min(MAX_ALTERNATIVES, logits.shape[-1]))
        best = [list(zip(*row, strict=True)) for row in zip(*(np.asarray(x).tolist() for x in found), strict=True)]
    return [
        None if count is None else ScoredToken(token, log_prob, tuple(row[:count]))
        for count, token, log_prob, row in zip(wanted, np.asarray(ids).tolist(), log_probs, best, strict=True)
    ]


class AnswerLogProbs:
    """OpenAI's ``logprobs`` of one answer, piece by piece.

    A token is sent with the piece of text in which it begins. Tokens without text, such as the one that ended the
    answer, and those that a stop string cut off are not sent; the confidence counts them.
    """

    def __init__(self, tokenizer: GemmaTokenizer):
        """Starts without a token."""
        self._tokenizer = tokenizer
        self._waiting: list[ScoredToken] = []
        self._num_bytes_sent, self._next_byte = 0, 0
        self._log_prob = 0.0

    @property
    def confidence(self) -> float:
        """The probability of all tokens so far: at the end that of the whole answer, its stop token included."""
        return math.exp(self._log_prob)

    def take(self, text: str, tokens: Sequence[ScoredToken]) -> dict[str, Any]:
        """Takes the next piece of text, and the tokens since the last one; returns the ``logprobs`` of the piece."""
        self._log_prob += sum(token.log_prob for token in tokens)
        self._num_bytes_sent += len(text.encode())
        self._waiting += tokens
        content = []
        while self._waiting and self._next_byte < self._num_bytes_sent:
            token = self._waiting.pop(0)
            spelt = self._bytes(token.id)
            self._next_byte += len(spelt)
            if spelt:
                best = [self._entry(*alternative) for alternative in token.alternatives]
                content.append(self._entry(token.id, token.log_prob) | {"top_logprobs": best})
        return {"content": content, "refusal": None}

    def _entry(self, token: int, log_prob: float) -> dict[str, Any]:
        """A token's text (its name for a control token), its bytes (null for a control token), its log-probability."""
        spelt = self._bytes(token)
        text = spelt.decode(errors="replace") if spelt else self._tokenizer.decode([token], keep_control=True)
        return {"token": text, "bytes": list(spelt) or None, "logprob": log_prob}

    def _bytes(self, token: int) -> bytes:
        """The bytes of a token in an answer, which shows no control token."""
        return self._tokenizer.surface(token) if self._tokenizer.decode([token]) else b""
