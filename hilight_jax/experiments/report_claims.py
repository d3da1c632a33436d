"""The claims of HiLight's report (arXiv 2407.07325) and of this project, and the comparisons of runs that test them.

Rows and figures are those of the tables of ``ablations``. A claim of the report is put in its own terms as far as its
figures can be measured here, at the size of the demo.
"""

from typing import NamedTuple

from hilight_jax.experiments.claims import Comparison


class Claim(NamedTuple):
    """A claim and its test.

    Attributes:
      title: Its subject.
      said: What is claimed, and by whom.
      table: Name of the table of runs, as of its JSON file.
      comparisons: All of them must hold.
      note: What the reader should know beside them.
    """

    title: str
    said: str
    table: str
    comparisons: tuple[Comparison, ...]
    note: str = ""


_POINTING, _RETRIEVAL = "validation/ball_pointing", "validation/text_to_video_r1"
_OVERLAP, _ON_BALLS = "validation/ball_soft_iou", "validation/ball_any_ball"
_NO_LOCAL = "no local loss"
_DEMO = "the demo: across clips, one query per object"
_LAST = "SPARC as published, last block, content (setting 2)"
_EMBEDDINGS = "SPARC as published, embeddings, content (setting 3)"
_EVERY = "SPARC as published, every block, content (setting 4)"
_UNMASKED = "SPARC as published, last block, none (setting 1)"
_ALONE = ", without word tracks"
_RELEASED, _TWO, _ONE = (
    f"dual projectors, as released{_ALONE}",
    f"one cross attention, two linear maps{_ALONE}",
    f"one cross attention, one linear map{_ALONE}",
)
_TRACKS = "patches averaged over a frame (the demo)"
_WITHOUT = ("dual projectors, as released", "positions", "patches averaged on a grid")

CLAIMS = (
    Claim(
        "Spatial correspondence after the encoder",
        "The report: with the local loss after the encoder, words correspond clearly to places.",
        "controls",
        (Comparison(_POINTING, _LAST, _NO_LOCAL), Comparison(_OVERLAP, _LAST, _NO_LOCAL)),
        "Whether the correspondence is clear is a matter of size: pointing by a random visible ball would be right in "
        "0.28 of the questions.",
    ),
    Claim(
        "The embeddings are not deep enough",
        "The report: at the embedding layers the local loss is not deep enough.",
        "controls",
        (
            Comparison(_POINTING, _LAST, _EMBEDDINGS),
            Comparison(_OVERLAP, _LAST, _EMBEDDINGS),
            Comparison("train/within_clip", _LAST, _EMBEDDINGS, lower=True),
        ),
        "The last figure is the local loss itself at the end of training.",
    ),
    Claim(
        "The language mask",
        "The report: with the language mask the local loss does much better than without.",
        "controls",
        (
            Comparison(_POINTING, _LAST, _UNMASKED),
            Comparison(_ON_BALLS, _LAST, _UNMASKED),
            Comparison(_RETRIEVAL, _LAST, _UNMASKED),
        ),
    ),
    Claim(
        "The mask leaves abstract phrases to the global loss",
        "The report: abstract phrases have no place in the picture; without the mask the local loss gives them one.",
        "controls",
        (
            Comparison("validation/phrases_right", _LAST, _UNMASKED),
            Comparison("validation/phrases_lost", _LAST, _UNMASKED, lower=True),
        ),
        "The first figure is how often a clip lies nearest to its own caption among those that differ from it in the "
        "abstract last sentence alone; in this world that sentence is drawn at random, so that 0.1, chance, is the "
        "most that can be expected of any model. The second is what R@1 loses when every caption ends with another "
        "clip's.",
    ),
    Claim(
        "Content words instead of real tokens",
        "The report masks words that name nothing visible, where SPARC masks padding alone.",
        "controls",
        (
            Comparison(_POINTING, _LAST, "SPARC, last block, padding"),
            Comparison(_RETRIEVAL, _LAST, "SPARC, last block, padding"),
        ),
    ),
    Claim(
        "Both losses agree in direction",
        "The report trains a global and a local loss on the same features, since they pull the same way.",
        "controls",
        tuple(Comparison(f"cosine/{tower}", _LAST, 0.0) for tower in ("vision", "text")),
        "The cosine of the two gradients of one batch of held-out clips, mean over the layers of a tower and eight "
        "steps of the run.",
    ),
    Claim(
        "The contrast across clips agrees with the global loss",
        "This project: so does its own local loss, and more than SPARC.",
        "controls",
        tuple(Comparison(f"cosine/{tower}", _DEMO, other) for tower in ("vision", "text") for other in (0.0, _LAST)),
    ),
    Claim(
        "Every block, the deeper the more",
        "The report's setting 4: the local loss at every block, with weights that rise from 0.1 to 1.",
        "controls",
        (
            Comparison(_POINTING, _EVERY, _LAST),
            Comparison(_POINTING, _EVERY, "SPARC, every block, content, even weights"),
        ),
    ),
    Claim(
        "A token should drop patches",
        "SPARC (arXiv 2401.09865): a token drops the patches below 1/P of its best one's similarity.",
        "controls",
        (Comparison(_POINTING, _LAST, "SPARC, last block, content, nothing dropped"),),
        "FLAIR (arXiv 2412.03561) and SPARC measure this on other data; their figures are not mixed with these.",
    ),
    Claim(
        "1/P is the threshold",
        "SPARC chooses 1/P. Here half of it, twice it, and the best 16 patches of a clip.",
        "controls",
        (
            Comparison(_POINTING, _LAST, "SPARC, last block, content, half the threshold"),
            Comparison(_POINTING, _LAST, "SPARC, last block, content, twice the threshold"),
            Comparison(_POINTING, _LAST, "SPARC, last block, content, the best 16 patches"),
        ),
        "A clip has 384 patches here, so that all three thresholds are below 0.006 of the best similarity.",
    ),
    Claim(
        "SPARC goes by position",
        "This project: inside one caption token k can take patch set k, so that SPARC learns places rather than "
        "things. Then it points better without positions, and loses more than the contrast across clips when they are "
        "shuffled.",
        "controls",
        (
            Comparison(_POINTING, "SPARC, last block, content, no positions", _LAST),
            Comparison("shuffled/ball_lost", _LAST, _DEMO),
        ),
    ),
    Claim(
        "The contrast across clips needs no positions",
        "This project: without positions it still points better than SPARC does.",
        "controls",
        (Comparison(_POINTING, "the demo, no positions", "SPARC, last block, content, no positions"),),
    ),
    Claim(
        "Contrast across clips",
        "This project: a word's evidence contrasted across clips points better than SPARC, and retrieves better.",
        "controls",
        (
            Comparison(_POINTING, _DEMO, "SPARC (within clip), the demo's heads"),
            Comparison(_RETRIEVAL, _DEMO, "SPARC (within clip), the demo's heads"),
            Comparison(_RETRIEVAL, _DEMO, _NO_LOCAL),
        ),
    ),
    Claim(
        "One query for each thing",
        "This project: the tokens that name one thing are one query.",
        "controls",
        (
            Comparison(_POINTING, _DEMO, "the demo, one query per token"),
            Comparison(_RETRIEVAL, _DEMO, "the demo, one query per token"),
        ),
    ),
    Claim(
        "Clips that show the same thing are no negatives",
        "This project: another clip that shows the thing that a word names is left out of that word's contrast.",
        "controls",
        (
            Comparison(_POINTING, _DEMO, "the demo, same objects not excluded"),
            Comparison(_RETRIEVAL, _DEMO, "the demo, same objects not excluded"),
        ),
    ),
    Claim(
        "SPARC beside the contrast across clips hurts",
        "This project: added at a quarter, SPARC costs pointing and retrieval.",
        "controls",
        (
            Comparison(_POINTING, _DEMO, "both contrasts, SPARC at a quarter"),
            Comparison(_RETRIEVAL, _DEMO, "both contrasts, SPARC at a quarter"),
        ),
    ),
    Claim(
        "More layers of token mining, lower loss",
        "The report's Figure 3: dual projectors have the lowest loss, two linear maps a lower one than one.",
        "connectors",
        (Comparison("train_loss", _RELEASED, _TWO, lower=True), Comparison("train_loss", _TWO, _ONE, lower=True)),
    ),
    Claim(
        "Lower loss, better answers",
        "The report shows losses only. Do answers follow?",
        "connectors",
        (Comparison("right", _RELEASED, _TWO), Comparison("right", _TWO, _ONE)),
    ),
    Claim(
        "Two towers instead of one",
        "The report reads key frames through a Long-CLIP beside the video tower.",
        "connectors",
        (Comparison("right", "dual projectors, no word tracks, Long-CLIP for key frames", _RELEASED),),
        "The Long-CLIP of the demo is trained on the same clips; the report's is pretrained.",
    ),
    Claim(
        "Key frames by a fixed rule",
        "The report chooses key frames by a fixed rule, not by what they show.",
        "connectors",
        (Comparison("right", _RELEASED, "dual projectors, no word tracks, key frames by content"),),
    ),
    Claim(
        "Tracks carry what the connector forgets",
        "This project: word tracks (docs/word-tracks.md) give right answers where the released connector does not.",
        "connectors",
        tuple(Comparison("right", _TRACKS, f"{other}{_ALONE}") for other in _WITHOUT),
    ),
)
