"""Finds the words of a conversation that name something visible, for the word tracks (models/word_tracks.py).

Words are found in the token ids, where the user speaks: a name of the domain's list of things, the longest first, or
else a run of content words (data/language_mask.py) that is no verb and no place in the picture. Answers carry no
tracks: while one is generated, its words are not known yet.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.conversations import phrases
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.phrases import PhraseFinder, normal_form
from hilight_jax.data.language_mask import ABSTRACT_WORDS, FUNCTION_WORDS, content_mask
from hilight_jax.data.records import Caption
from hilight_jax.data.tokenizers import ClipTokenizer

PHRASE_LENGTH = 16  # Tokens of CLIP's tokenizer that a phrase is read with, start and end included.
PHRASE_BUCKETS = (16, 64, 256)  # Different phrases of a conversation that a batch has room for; each is compiled once.
LONGEST_RUN = 3  # Words of a phrase that is not on the list; a longer run is several phrases.


class WordFinder(PhraseFinder):
    """Finds the phrases of conversations; can be sent to worker processes."""

    def __init__(self, tokenizer: GemmaTokenizer, things: Sequence[str]):
        """Takes the tokenizer of the ids, and the domain's things, such as ``the cue ball``."""
        super().__init__(tokenizer.surface, finding_rules(tokenizer, things))


def finding_rules(tokenizer: GemmaTokenizer, things: Sequence[str]) -> dict[str, Any]:
    """The rules of a ``PhraseFinder`` as JSON holds them."""
    return {
        "names": [list(pair) for pair in listed_names(things)],
        "unseen": sorted(_UNSEEN),
        "longest_run": LONGEST_RUN,
        "most_phrases": PHRASE_BUCKETS[-1],
        "start_of_turn": tokenizer.start_of_turn,
        "end_of_turn": tokenizer.end_of_turn,
        "video_id": VIDEO_ID,
    }


def listed_names(things: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The names of things, longest first, each with the one that its thing is read as.

    A thing is a name, or several that mean the same with ``|`` between, such as ``the cue ball|the white ball``: all
    are read as the first.
    """
    names = {name_of(name): name_of(thing) for thing in things for name in thing.split("|")}
    return tuple(sorted(((a, b) for a, b in names.items() if a), key=lambda pair: (-len(pair[0]), pair[0])))


def find_phrases(text: str, names: tuple[tuple[str, str], ...]) -> tuple[tuple[int, int, str], ...]:
    """Finds what a text names, see ``phrases.find_phrases``; ``names`` are those of ``listed_names``."""
    return phrases.find_phrases(text, names, _UNSEEN, LONGEST_RUN)


@functools.lru_cache(maxsize=65536)
def phrase_tokens(phrase: str) -> tuple[np.ndarray, np.ndarray]:
    """CLIP's ids of a phrase, int32 [PHRASE_LENGTH], and True on those that name something visible."""
    tokens = _TOKENIZER(phrase)
    return tokens.ids, content_mask(Caption(phrase), tokens)


class Things(NamedTuple):
    """The domain's O things, in the ids of both tokenizers.

    Attributes:
      ids: int32 [O, ids], the language model's ids of the names as words in a sentence, padded with 0.
      phrase_ids: int32 [O, PHRASE_LENGTH], CLIP's ids.
      content: bool [O, PHRASE_LENGTH], True on those that name something visible.
    """

    ids: np.ndarray
    phrase_ids: np.ndarray
    content: np.ndarray


def encode_things(things: Sequence[str], tokenizer: GemmaTokenizer) -> Things:
    """Encodes the names of things."""
    return Things(thing_ids(things, tokenizer), *encode_names(things))


def encode_names(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Encodes names, which may have an article and synonyms, by their normal forms; see ``encode_phrases``."""
    return encode_phrases([normal_form(name_of(name)) for name in names])


def encode_phrases(phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """CLIP's ids of phrases, int32 [n, PHRASE_LENGTH], and True on those that name something visible."""
    shape = (len(phrases), PHRASE_LENGTH)
    ids, content = np.zeros(shape, np.int32), np.zeros(shape, bool)
    for row, phrase in enumerate(phrases):
        ids[row], content[row] = phrase_tokens(phrase)
    return ids, content


def thing_ids(things: Sequence[str], tokenizer: GemmaTokenizer) -> np.ndarray:
    """The language model's ids of the things' names, see ``Things.ids``."""
    names = [tokenizer.encode(f" {name_of(thing)}") for thing in things]
    ids = np.zeros((len(names), max(map(len, names), default=1)), np.int32)
    for row, name in enumerate(names):
        ids[row, : len(name)] = name
    return ids


def name_of(thing: str) -> str:
    """A thing's first name in lower case without an article: ``The red ball|red`` becomes ``red ball``."""
    words = [word for *_, word in phrases.split_words(thing.partition("|")[0])]
    return " ".join(words[1:] if words[:1] in (["the"], ["a"], ["an"]) else words)


_TOKENIZER = ClipTokenizer(PHRASE_LENGTH)

# Words that have a look but no place of their own: what things do, where in the picture they are, and how to be polite.
_DEEDS_AND_PLACES = frozenset(
    "hit hits hitting struck strike strikes striking touch touches touched touching meet meets met meeting contact "
    "contacts contacted collide collides collided knock knocks knocked push pushes pushed roll rolls rolled rolling "
    "move moves moved moving travel travels fall falls fell fallen falling drop drops dropped dropping pot pots "
    "potted potting pocketed pocketing sink sinks sank sunk sinking bounce bounces bounced bouncing rebound "
    "rebounds rest rests resting lie lies lying sit sits sitting stand stands standing reach reaches reached leave "
    "leaves left right top bottom upper lower centre center middle corner near nearer nearest far farther farthest "
    "close closer closest visible view shown present absent count many remaining first second third last earlier "
    "later again nothing change changed harder softer faster slower point coordinates coordinate place location "
    "located find tell say please yes no hello hi thanks thank correct statement confirm check answer sentence word "
    "words one ones role user model ends end ended ending run runs ran running play plays played playing won "
    "winning break broke cost costs contain contains contained hold holds held mark marks locate locates respond "
    "reply replies suppose imagine predict guess expect expects compare compared relative missing anywhere "
    "somewhere sight ahead called filmed recorded heard hear watching write wrote sum summary summarise summarize "
    "description describe brief full".split()
)
_UNSEEN = FUNCTION_WORDS | ABSTRACT_WORDS | _DEEDS_AND_PLACES
