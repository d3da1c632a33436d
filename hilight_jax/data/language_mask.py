"""Which tokens the local loss looks at: the language mask of the report, and which object each token names.

``none`` takes every position, ``padding`` every real token (as SPARC does), ``content`` only words that name something
visible: special tokens, punctuation, function words and abstract words are left out and stay free to carry what the
whole clip means. Where spans are known, content words are the words inside them; otherwise a word list decides.
"""

import numpy as np
import regex

from hilight_jax.core.errors import ConfigError
from hilight_jax.data.records import Caption, object_id
from hilight_jax.data.tokenizers import Tokens
from hilight_jax.data.words import ABSTRACT_WORDS, FUNCTION_WORDS

LANGUAGE_MASKS = ("none", "padding", "content")
_WORD = regex.compile(r"\p{L}+(?:['’]\p{L}+)?|\p{N}+")


def local_mask(language_mask: str, caption: Caption, tokens: Tokens) -> np.ndarray:
    """Returns bool [L], True on the tokens of a caption that the local loss looks at.

    Args:
      language_mask: One of ``LANGUAGE_MASKS``.
      caption: The text and, if known, the spans of what is visible.
      tokens: The tokens of that text.
    """
    if language_mask == "none":
        return np.ones_like(tokens.mask)
    if language_mask == "padding":
        return tokens.mask.copy()
    if language_mask == "content":
        return content_mask(caption, tokens)
    raise ConfigError(f"language_mask is '{language_mask}', but it must be one of {', '.join(LANGUAGE_MASKS)}.")


def content_mask(caption: Caption, tokens: Tokens) -> np.ndarray:
    """Returns bool [L], True on tokens of words that name something visible."""
    if caption.spans is None:
        return _tokens_of(_words(caption.text, FUNCTION_WORDS | ABSTRACT_WORDS), tokens)
    words = _tokens_of(_words(caption.text, FUNCTION_WORDS), tokens)
    return words & _tokens_of([(span.start, span.end) for span in caption.spans], tokens)


def token_objects(caption: Caption, tokens: Tokens) -> np.ndarray:
    """Returns int32 [L]: the ``object_id`` of what a token names, 0 for none.

    Only content words name: in "the red 3-ball", "the" and "-" have no object.
    """
    objects = np.zeros(tokens.ids.shape, np.int32)
    words = content_mask(caption, tokens)
    for span in caption.spans or ():
        if span.object:
            objects[words & _tokens_of([(span.start, span.end)], tokens)] = object_id(span.object)
    return objects


def _words(text: str, left_out: frozenset[str]) -> list[tuple[int, int]]:
    """Returns the spans of all words and numbers but those of a list; punctuation is no word."""
    return [match.span() for match in _WORD.finditer(text) if match.group().lower().replace("’", "'") not in left_out]


def _tokens_of(passages: list[tuple[int, int]], tokens: Tokens) -> np.ndarray:
    """Returns bool [L], True on tokens that share a character with a passage."""
    if not passages:
        return np.zeros_like(tokens.mask)
    bounds = np.asarray(passages)
    start, end = tokens.spans[:, :1], tokens.spans[:, 1:]
    return ((start < bounds[:, 1]) & (end > bounds[:, 0])).any(1)
