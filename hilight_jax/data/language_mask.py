"""Language masks: the tokens of a caption that the local loss compares with patches, and the object each one names.

``none`` takes every position, ``padding`` every real token (as SPARC does), ``content`` only words that name something
visible: special tokens, punctuation, function words and abstract words are left out and stay free to carry the meaning
of the whole clip. Where spans are known, content words are the words inside them; otherwise two lists of English words
that name nothing visible decide. The lists are short: a word that is missing costs a little noise in the local loss,
and spans in a user's own manifest do better.
"""

import numpy as np
import regex

from hilight_jax.core.errors import ConfigError
from hilight_jax.data.records import Caption, object_id
from hilight_jax.data.tokenizers import Tokens

LANGUAGE_MASKS = ("none", "padding", "content")
_WORD = regex.compile(r"\p{L}+(?:['’]\p{L}+)?|\p{N}+")


def local_mask(language_mask: str, caption: Caption, tokens: Tokens) -> np.ndarray:
    """Returns bool [L], True on the tokens of a caption's text that the local loss compares, by the name of a rule."""
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
    """Returns the spans of all words and numbers except those in a list; punctuation is not a word."""
    return [match.span() for match in _WORD.finditer(text) if match.group().lower().replace("’", "'") not in left_out]


def _tokens_of(passages: list[tuple[int, int]], tokens: Tokens) -> np.ndarray:
    """Returns bool [L], True on tokens that share a character with a passage."""
    if not passages:
        return np.zeros_like(tokens.mask)
    bounds = np.asarray(passages)
    start, end = tokens.spans[:, :1], tokens.spans[:, 1:]
    return ((start < bounds[:, 1]) & (end > bounds[:, 0])).any(1)


FUNCTION_WORDS = frozenset(
    # Articles, determiners, pronouns.
    "a an the this that these those such same other another each every either neither both all any some no none few "
    "many much more most less least several enough own i me my mine myself you your yours yourself he him his himself "
    "she her hers herself it its itself we us our ours ourselves they them their theirs themselves one's who whom "
    "whose which what whatever whoever someone somebody something anyone anybody anything everyone everybody "
    "everything nobody nothing there here "
    # Prepositions and particles.
    "of at by for with about against between into through during before after above below to from up down in out on "
    "off over under again further onto upon within without along across behind beside besides beyond near toward "
    "towards around among amongst past since until till despite per via like than as away back together apart next "
    # Conjunctions, adverbs of time, place and degree.
    "and but or nor so yet if because while when where why how whether although though unless whereas then once just "
    "also too very quite rather really only even still already now soon later ever never always often sometimes "
    "almost nearly not n't maybe perhaps however therefore thus hence instead else finally afterwards meanwhile "
    # Auxiliary and light verbs.
    "am is are was were be been being do does did doing done have has had having can could may might must shall "
    "should will would ought need dare let lets let's i'm you're he's she's it's we're they're i've you've we've "
    "they've i'd you'd he'd she'd we'd they'd i'll you'll he'll she'll we'll they'll isn't aren't wasn't weren't "
    "hasn't haven't hadn't doesn't don't didn't won't wouldn't shan't shouldn't can't cannot couldn't mustn't that's "
    "there's here's what's who's "
    # Endings that an apostrophe leaves.
    "s t re ve m ll d".split()
)

ABSTRACT_WORDS = frozenset(
    # Nouns of thought, time, manner and of talking about a video.
    "idea thing things way ways kind kinds sort type types example reason reasons cause effect result results case "
    "fact point points matter problem question answer chance luck skill strategy plan decision choice purpose goal "
    "aim attempt effort success failure advantage victory win wins loss game games match turn turns player's score "
    "frame frames moment moments time times second seconds minute minutes hour day today beginning start end ending "
    "middle course process situation position direction speed force power energy momentum motion movement action "
    "activity event events scene scenes video videos clip clips film footage image images picture pictures shot shots "
    "view background front side distance order sequence number numbers amount lot lots bit pair part parts rest whole "
    "total half name names word words story topic subject style mood feeling feelings emotion emotions interest "
    "attention care love hope fear joy life world art music sound noise voice topic language information knowledge "
    "experience ability method technique rule rules tip tips advice review news history future past "
    # Verbs without a look of their own.
    "show shows showing shown see sees seen seem seems appear appears appearing become becomes remain remains stay "
    "stays keep keeps begin begins began start starts started starting stop stops stopped try tries trying tried want "
    "wants think thinks know knows mean means use uses used using make makes making made get gets getting got go goes "
    "going gone went come comes coming came take takes taking took taken give gives giving gave given put puts "
    "happen happens happening explain explains explaining describe describes describing discuss discusses discussing "
    "demonstrate demonstrates demonstrating feature features include includes including involve involves cause causes "
    "manage manages succeed succeeds fail fails miss misses missed follow follows following "
    # Adjectives and adverbs of judgement and manner.
    "good better best bad worse worst great nice fine beautiful perfect excellent amazing interesting important main "
    "different similar various possible impossible easy hard difficult simple certain sure likely able ready real true "
    "false new old first last final next previous single only quick quickly slow slowly gently softly hardly "
    "carefully easily directly straight exactly slightly suddenly immediately successfully well".split()
)
