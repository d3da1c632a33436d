"""Templates of questions about what the frames of a clip show, by kind; see `grammar` for their form.

`{k}` is the cue ball, `{a}` and `{b}` are the objects that a question names. The first template of a kind holds the
question's plainest wording.
"""

COUNT = (
    "how many balls are (in view|visible|to be seen|in the picture) [start]?",
    "how many balls (can you see|do you see|can be seen|does the clip show) [start]?",
    "[start], how many balls (are in view|are there|can you see|do you count)?",
    "count the balls (in view|that you see|in the picture) [start].",
    "(what is the number of|number of) balls (in view|in the picture) [start]?",
)
COUNT_PLAIN = (
    "how many balls (are in view|are visible|are to be seen|are in the picture|are there)?",
    "how many balls (can you see|do you see|can be seen)(| in this clip| here)?",
    "how many balls does the clip show?",
    "count the balls(| in view| that you see| in this clip).",
    "(what is the number of|number of) balls(| in view| in the clip)?",
)
_WHOLE = "(over the whole clip|in the whole clip|altogether|at one time or another)"
COUNT_ANY = (
    f"how many balls (are in view|are visible|can you see|do you see|can be seen|appear) {_WHOLE}?",
    f"{_WHOLE}, how many balls (are in view|can you see|do you see|can be seen)?",
    f"how many different balls (are in view|can be seen|appear) {_WHOLE}?",
    f"count (all balls|the balls) (that you see|in view) {_WHOLE}.",
)
BALLS_ANY = (
    f"which balls (are in view|are visible|can be seen|can you see|do you see|appear) {_WHOLE}?",
    f"{_WHOLE}, which balls (are in view|can you see|do you see|can be seen)?",
    f"(name|list|tell me) all balls that (appear|you see|are in view) {_WHOLE}.",
)
BALLS = (
    "which balls (are in view|are visible|are in the picture|are there)?",
    "(which|what) balls (can you see|do you see|can be seen)(| in this clip| here)?",
    "(which|what) balls does the (clip|video) show?",
    "(name|list|tell me) (all |)the balls(| in view| that you see| in this clip).",
    "(which|what) colours of balls (are there|do you see|can you see|does the clip show)?",
    "(what|which) colours (are the balls|do the balls have)?",
)
FIRST_HIT = (
    "which ball does {k} (hit|strike|touch|meet) first?",
    "(which|what) ball is (hit|struck|touched) first?",
    "which (ball|one) (is|gets) (hit|struck) first by {k}?",
    "what does {k} (hit|strike|touch|run into) first?",
    "(name|tell me|say) the ball that {k} (hits|strikes|touches) first.",
    "(name|tell me|say) the first ball that {k} (hits|strikes|touches).",
    "first ball (hit|struck|touched)(| by {k})?",
    "{k} (hits|strikes|touches) which ball first?",
    "which ball (is|was) the first (to be hit|that {k} hits|that {k} touches)?",
    "(what|which) colour is the (first ball that is hit|ball that {k} hits first|ball that is hit first)?",
)
HIT = (
    "does {k} (hit|strike|touch|run into|make contact with|meet) {a}?",
    "(is|was) {a} (hit|struck|touched) by {k}?",
    "do {k} and {a} (meet|touch|collide|come together)?",
    "[true] {k} (hits|strikes|touches) {a}?",
    "{k} (hits|strikes|touches|runs into) {a}. [right]",
    "{a} is (hit|struck|touched) by {k}. [right]",
    "{a:short} (hit|struck|touched) by {k}?",
)
COLLIDE = (
    "does {a} (hit|strike|touch|run into|make contact with|meet) {b}?",
    "(is|was) {b} (hit|struck|touched) by {a}?",
    "[true] {a} (hits|strikes|touches) {b}?",
    "{a} (hits|strikes|touches|runs into) {b}. [right]",
    "{b} is (hit|struck|touched) by {a}. [right]",
    "{b:short} (hit|struck) by {a:short}?",
)
ORDER = (
    "does {p} before {qs}?",
    "does {q} after {ps}?",
    "[true] {ps} before {qs}?",
    "{ps} before {qs}. [right]",
    "{ps}, (and then|then|after that|and later) {qs}. [right]",
    "(first|to begin with,|at first) {ps}, (then|and then|after that) {qs}. (is that the order?|right?|is that right?)",
    "does {p} (first|earlier), and {q} (later|after that|afterwards)?",
)
COUNT_POTTED = (
    "how many balls (are|get) (potted|pocketed)(| in this clip| here)?",
    "how many balls (drop|go down|fall into a pocket|are sunk|end up in a pocket)(| in this clip| here)?",
    "(what is the number of|number of) balls (potted|pocketed)(| in this clip)?",
    "count the balls that (drop|are potted|go in|fall into a pocket).",
    "how many (potted balls|pots) (are there|do you see|does the clip show)?",
)
POTTED = (
    "(is|was) {a} (potted|pocketed)(| in this clip| here)?",
    "does {a} (drop|go down|go in|fall into a pocket|end up in a pocket|get potted)?",
    "[true] {a} (is potted|drops|goes in|falls into a pocket)?",
    "{a} (is potted|drops|goes in|falls into a pocket). [right]",
    "{a:short} (potted|pocketed)?",
)
POTTED_ANY = (
    "(is|was) (a|any) ball (potted|pocketed)(| in this clip| here)?",
    "does (a|any) ball (drop|go down|go in|fall into a pocket|get potted)?",
    "(is|was) (anything|something) (potted|pocketed)(| in this clip| here)?",
    "[true] a ball (is potted|drops|goes in|falls into a pocket)?",
    "(anything|any ball) (potted|pocketed)?",
)
POTTED_BALL = (
    "(which|what) ball (is|was|gets) (potted|pocketed)(| in this clip| here)?",
    "(which|what) ball (drops|goes down|goes in|falls into a pocket|falls into the pocket)?",
    "(name|tell me|say) the ball that (is potted|drops|goes in|falls into a pocket).",
    "(what|which) colour is the ball that (is potted|drops|goes in)?",
    "which ball (potted|pocketed)?",
    "what (is potted|is pocketed|goes in|falls into a pocket)?",
)
POCKET = (
    "(into|in) which pocket does {a} (fall|drop|go)?",
    "which pocket does {a} (fall|drop|go|roll) into?",
    "which pocket (takes|swallows|gets|catches) {a}?",
    "(name|tell me|say) the pocket that {a} (falls|drops|goes) into.",
    "{a} (falls|drops|goes) into which pocket?",
    "pocket of {a}?",
    "where (does|did) {a} (drop|go in|fall in)?",
    "(which|what) pocket (is|was) {a} potted (in|into)?",
)
CUSHION = (
    "which (cushion|rail) does {a} (touch|hit|bounce off|come off|rebound from)?",
    "off which (cushion|rail) does {a} (bounce|come|rebound)?",
    "{a} (touches|hits|bounces off) which (cushion|rail)?",
    "(name|tell me|say) the (cushion|rail) that {a} (touches|hits|bounces off).",
    "which (cushion|rail) is (touched|hit) by {a}?",
)
CUSHIONS = (
    "how (many times|often) does {k} (touch|hit|meet|bounce off) a (cushion|rail)?",
    "how many (cushion|rail) (touches|contacts) does {k} (make|have)?",
    "count (how often|the times) {k} (touches|hits|meets) a (cushion|rail).",
    "(what is the number of|number of) (cushion|rail) (touches|contacts) of {k}?",
)
LEFT_OR_RIGHT = (
    "[end], is {a} (left or right|to the left or to the right|on the left or on the right) of {b}?",
    "is {a} (left or right|to the left or to the right|on the left or on the right) of {b} [end]?",
    "on (which|what) side of {b} (is|lies) {a} [end], left or right?",
    "left or right: where is {a} (compared to|as seen from|relative to) {b} [end]?",
    "{a:short} left or right of {b:short} [end]?",
    "does {a} lie (left or right|to the left or to the right) of {b} [end]?",
)
LEFT_OF = (
    "is {a} (left|to the left|on the left) of {b} [end]?",
    "[end], is {a} (left|to the left) of {b}?",
    "[true] {a} (is|lies) (left|to the left) of {b} [end]?",
    "[end] {a} (is|lies) (left|to the left) of {b}. [right]",
    "{b} (is|lies) (right|to the right) of {a} [end]. [right]",
    "is {b} (right|to the right|on the right) of {a} [end]?",
    "{a:short} left of {b:short} [end]?",
)
NEAREST = (
    "(which|what) ball is (nearest|closest|next) to {k} [end]?",
    "[end], which (ball|one) (is|lies) (nearest|closest) to {k}?",
    "which ball (lies|do you see) (nearest|closest) to {k} [end]?",
    "(name|tell me|say) the ball (nearest|closest) to {k} [end].",
    "(nearest|closest) ball to {k} [end]?",
)
IN_VIEW = (
    "is {a} (in view|visible|in the picture|on screen|in sight)?",
    "is {a} (shown|to be seen|anywhere to be seen)(| in this clip| here)?",
    "(can|do) you see {a}(| in this clip| anywhere| here)?",
    "does (the clip|the video|this clip) show {a}?",
    "[true] {a} is (in view|visible|in the picture)?",
    "{a} is (in view|visible|in the picture). [right]",
    "{a:short} (in view|visible)?",
    "is there any {a:bare}(| in this clip| here)?",
)
IN_VIEW_AT = (
    "is {a} (in view|visible|in the picture|on screen|in sight) [when]?",
    "[when], is {a} (in view|visible|in the picture|on screen|there)?",
    "(can|do) you see {a} [when]?",
    "[true] {a} is (in view|visible|in the picture) [when]?",
    "[when] {a} is (in view|visible|in the picture). [right]",
    "{a:short} (in view|visible) [when]?",
)
WHERE = (
    "where is {a} [when]?",
    "[when], where (is {a}|does {a} lie|do you see {a})?",
    "in (which|what) part of the (picture|frame) is {a} [when]?",
    "where in the (picture|frame|image) (is|do you see|can one see) {a} [when]?",
    "which part of the (picture|frame|image) (holds|contains|shows) {a} [when]?",
    "(tell me|say) where {a} (is|lies) [when].",
    "{a:short} where [when]?",
)
WHERE_TO = (
    "where does {a} (end up|stop|roll to|come to rest)?",
    "in (which|what) part of the (picture|frame) does {a} (end up|stop|come to rest)?",
    "(tell me|say) where {a} (ends up|stops|comes to rest).",
)
POINT = (
    "point (to|at) {a} [when].",
    "(give|tell) me the (coordinates|position as a point) of {a} [when].",
    "where is {a} [when]? (give coordinates.|answer with a point.|give a point.|point at it.)",
    "(mark|locate) {a} [when](.| with a point.)",
    "coordinates of {a} [when]?",
    "[when], what are the (coordinates|x and y) of {a}?",
)
MOVES = (
    "does {a} (move|roll)(| in this clip| here)?",
    "is {a} (moving|rolling)(| in this clip| here)?",
    "[true] {a} (moves|rolls)?",
    "{a} (moves|rolls). [right]",
    "(do|can) you see {a} (move|moving|roll|rolling)?",
    "{a:short} (moving|rolling)?",
)
CLOTH = (
    "(what|which) colour is the (cloth|table)(| here| in this clip)?",
    "what is the colour of the (cloth|table|table's cloth)?",
    "(name|tell me|say) the colour of the (cloth|table).",
    "(which|what) colour (does the cloth have|does the table have|do you see under the balls)?",
    "colour of the (cloth|table)?",
)
TWO_CLIPS = (
    "in which (of the two clips|clip|of these clips|video|of the two videos|of the two) {clause}?",
    "{clause}: in the (first|first clip|first video) or in the second?",
    "(first or second clip|clip one or clip two|first or second): in which (one|of them) {clause}?",
    "of the two (clips|videos), in which (one |){clause}?",
)


def _at(kind: str, templates: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Returns the templates of a kind at the start and at the end, which take the place of `[when]`."""
    moments = ("start", "end")
    return {f"{kind}:{when}": tuple(t.replace("[when]", f"[{when}]") for t in templates) for when in moments}


SEEN = {
    "count": COUNT,
    "count:plain": COUNT_PLAIN,
    "count:any": COUNT_ANY,
    "count:end": tuple(template.replace("[start]", "[end]") for template in COUNT),
    "balls": BALLS,
    "balls:any": BALLS_ANY,
    "first_hit": FIRST_HIT,
    "hit": HIT,
    "collide": COLLIDE,
    "order": ORDER,
    "count_potted": COUNT_POTTED,
    "potted": POTTED,
    "potted:any": POTTED_ANY,
    "potted_ball": POTTED_BALL,
    "moves": MOVES,
    "cloth": CLOTH,
    "pocket": POCKET,
    "cushion": CUSHION,
    "cushions": CUSHIONS,
    "left_or_right": LEFT_OR_RIGHT,
    "left_of": LEFT_OF,
    "nearest": NEAREST,
    "in_view": IN_VIEW,
    **_at("in_view", IN_VIEW_AT),
    **_at("where", WHERE),
    "where:to": WHERE_TO,
    **_at("point", POINT),
}
