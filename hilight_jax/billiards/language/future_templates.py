"""Templates of questions about what the frames of a clip do not show: what happens next, and what would happen if."""

NEXT = (
    "which ball will {a} (hit|strike|touch) next?",
    "which ball (will be|is about to be|is going to be) (hit|struck|touched) next?",
    "which ball is {a} (about to|going to) (hit|strike|touch)?",
    "what (happens|comes) next: which ball (will be|is) (hit|struck)?",
    "(predict|guess|say) which ball {a} will (hit|strike|touch) next.",
    "(what|which) is the next ball that {a} will (hit|strike|touch)?",
    "{a} will (hit|strike|touch) which ball next?",
    "(the clip stops here|after the last frame): which ball (will be|is) (hit|struck) next?",
    "next ball (hit|struck|touched)?",
)
NEXT_POTTED = (
    "will {a} (be potted|drop|go in|fall into a pocket|go down)?",
    "is {a} (about to|going to) (be potted|drop|go in|fall into a pocket)?",
    "(do you think|do you expect|would you say) that {a} will (be potted|drop|go in)?",
    "after the (clip|last frame), (will|does) {a} (drop|go in|fall into a pocket)?",
    "{a} will (be potted|drop|go in|fall into a pocket). [right]",
    "is {a} (potted|pocketed) (next|after the clip ends|later)?",
)
WITHOUT = "(if {a} were (not there|gone|missing|taken away)|without {a}|if there were no {a:bare})"
IF_FIRST = (
    f"{WITHOUT}, which ball would {{k}} (hit|strike|touch) first?",
    f"which ball would {{k}} (hit|strike|touch) first {WITHOUT}?",
    f"{WITHOUT}, which ball would be (hit|struck) first?",
    "(imagine|suppose) {a} (were|was) (not there|gone): which ball would {k} (hit|strike) first?",
    "take {a} away: which ball (does|would) {k} (hit|strike|touch) first?",
)
_POTTED = "(be potted|drop|go in|fall into a pocket)"
HARDER = "(if {k} were (struck|hit|played) harder|with a harder shot|if the shot were harder)"
IF_HARDER = (
    f"{HARDER}, would {{b}} {_POTTED}?",
    f"would {{b}} {_POTTED} {HARDER}?",
    f"(imagine|suppose) {{k}} were struck harder: would {{b}} {_POTTED}?",
    f"{HARDER}, {{b}} would {_POTTED}. [right]",
)
IF_WITHOUT = (
    f"{WITHOUT}, would {{b}} {_POTTED}?",
    f"would {{b}} {_POTTED} {WITHOUT}?",
    f"(imagine|suppose) {{a}} were (not there|gone): would {{b}} {_POTTED}?",
    f"{WITHOUT}, {{b}} would {_POTTED}. [right]",
)
FUTURE = {
    "next": NEXT,
    "next_potted": NEXT_POTTED,
    "what_if": IF_FIRST,
    "what_if_potted:harder": IF_HARDER,
    "what_if_potted:without": IF_WITHOUT,
}
