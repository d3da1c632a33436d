"""Questions that no clip answers, and talk without a clip: greetings, rules of the games, colours of balls."""

import functools

import numpy as np

from hilight_jax.billiards.language.footage import COLOURS, Footage, Namer
from hilight_jax.billiards.language.posed import Posed

UNANSWERABLE, NO_CLIP = "unanswerable", "no_clip"
NOT_SHOWN = "the clip does not show that"
_UNANSWERABLE_SHARE = 0.35  # Share of the clips that get an unanswerable question.
TEMPLATES = (
    "who (is winning|wins|is ahead in|has won) the (match|game|frame)?",
    "(what is the name of the player|what is the player called|who is the player|who is playing)?",
    "how old is the (player|referee)?",
    "(where|in which city|in which country) was this (filmed|recorded)?",
    "when was this (filmed|recorded|played)?",
    "what (colour|brand) is the player's (shirt|jacket|watch)?",
    "how many (people|spectators) are (watching|in the room)?",
    "what does the (commentator|referee|crowd) say?",
    "how much did the (table|cue|balls) cost?",
    "what is the (weather|temperature) like(| there)?",
    "how many (games|frames) has (the player|this player) won(| before)?",
    "who (broke|played the break) in this (game|frame)?",
    "is the player (left-handed|right-handed|nervous|tired)?",
    "what (music|song) is (playing|to be heard)?",
)
_EIGHT, _NINE = "(eight-ball|8-ball)", "(nine-ball|9-ball)"
_TALK = {
    "Hello. Show me a clip, and ask about it.": (
        "hello(|.| there.| again.)",
        "hi(|.| there.| again.)",
        "good (morning|evening|day).",
    ),
    "You are welcome.": ("thanks(|.| a lot.)", "thank you(|.| very much.)", "many thanks(|.)"),
    "Goodbye.": ("goodbye(|.| for now.)", "bye(|.| for now.)", "see you(|.| later.| soon.)"),
    "I answer questions about billiards clips.": (
        "(what can|how can) you (do|help)(|me)?",
        "what are you for?",
        "what do you do?",
    ),
    "Please show me a clip.": (
        "(which ball is hit first|how many balls are in view|where is the red ball|what do you see)?",
        "what happens in (the|this) clip?",
        "is the (red|blue|black|green) ball (in view|potted)?",
    ),
    "It is a foul.": (
        "what (happens|is it) (when|if) the cue ball (is potted|drops|goes in)?",
        "(what if|what when) the cue ball (is potted|drops|goes in)?",
    ),
    "Yes.": (
        "is it a foul (when|if|that) the cue ball (is potted|drops|goes in)?",
        "is potting the cue ball a foul?",
    ),
    "No.": ("may (one|a player|I) pot the cue ball?", "is (it allowed to pot|a player allowed to pot) the cue ball?"),
    "Six.": ("how many pockets (does a table have|are there on a table|has a table)?",),
    "Fifteen, and the cue ball.": (f"(how many|what number of) balls (are used|are there|does one need) in {_EIGHT}?",),
    "Nine, and the cue ball.": (f"(how many|what number of) balls (are used|are there|does one need) in {_NINE}?",),
    "The 8-ball.": (f"which ball (must be|is|has to be) (potted|pocketed) last in {_EIGHT}?",),
    "The lowest one on the table.": (f"which ball (must be|has to be|is to be) (hit|struck) first in {_NINE}?",),
    "The 9-ball.": (f"which ball (wins|decides|ends) (a game of |){_NINE}?",),
    "The cue ball.": ("which ball (does a player|do you|does one) (strike|hit|play) with the cue?",),
    "White.": (
        "(what|which) colour (is the cue ball|does the cue ball have)?",
        "(name|tell me) the colour of the cue ball.",
    ),
}
_COLOUR = (
    "(what|which) colour is (the {n}-ball|ball {n}|number {n})?",
    "(name|tell me) the colour of (the {n}-ball|ball {n}).",
)
_NUMBER = (
    "(which|what) number is the {c} (solid|solid ball)?",
    "which (solid|solid ball|solid one) is {c}?",
)


def unanswerable(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks, of a share of the clips, for something that a clip of balls on a table does not show."""
    return Posed(UNANSWERABLE, NOT_SHOWN) if rng.random() < _UNANSWERABLE_SHARE else None


@functools.cache
def talk() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Returns the answer and the templates of every question that needs no clip."""
    found = list(_TALK.items())
    for number, colour in COLOURS.items():
        found.append((f"{colour.capitalize()}.", _filled(_COLOUR, "{n}", number)))
        found.append((f"The {number}-ball.", _filled(_NUMBER, "{c}", colour)))
        if number + 8 <= 15:
            found.append((f"White, striped {colour}.", _filled(_COLOUR, "{n}", number + 8)))
    return tuple(found)


def _filled(templates: tuple[str, ...], slot: str, value: object) -> tuple[str, ...]:
    return tuple(template.replace(slot, str(value)) for template in templates)
