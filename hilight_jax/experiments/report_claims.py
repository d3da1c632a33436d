"""The claims of HiLight's report (arXiv 2407.07325) and of this project, and the comparisons of runs that test them.

Rows and figures are those of the tables of ``ablations``. A claim of the report is put in this project's words, as far
as its figures can be measured here, at the size of the demo.
"""

from typing import NamedTuple

from hilight_jax.experiments import ablations as rows
from hilight_jax.experiments.claims import ALLOWED, Comparison


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


POINTING, RETRIEVAL = "validation/ball_pointing", "validation/text_to_video_r1"
OVERLAP, ON_BALLS = "validation/ball_soft_iou", "validation/ball_any_ball"
SPARC_LOSS, TRAINING_LOSS, ANSWERS = "train/within_clip", "train_loss", "right"
ANOTHER_WORD = "validation/ball_shuffled_word"  # Pointing at the same ball by the word of another.
VIDEO_LAYERS = ("embeddings", "block 1", "block 2", "block 3")
FIGURES = {
    POINTING: "pointing",
    RETRIEVAL: "R@1",
    OVERLAP: "soft IoU",
    ON_BALLS: "peaks on some ball",
    SPARC_LOSS: "SPARC's loss at the end of training",
    TRAINING_LOSS: "training loss",
    ANSWERS: "answers right",
    ANOTHER_WORD: "that by another word",
    **{f"cosine/vision/{layer}": f"cosine, {layer}" for layer in VIDEO_LAYERS},
}
_NO_POSITIONS = "SPARC, last block, content, no positions"
_DEMO_NO_POSITIONS = "the demo, no positions"


def _both(better: str, worse: str) -> tuple[Comparison, ...]:
    """Two rows compared in pointing and in retrieval."""
    return Comparison(POINTING, better, worse), Comparison(RETRIEVAL, better, worse)


def _alone(connector: str) -> str:
    return f"{connector}{rows.WITHOUT_TRACKS}"


CLAIMS = (
    Claim(
        "Spatial correspondence after the encoder",
        "The report: with SPARC's local loss after the encoder, words correspond clearly to places.",
        "controls",
        (
            Comparison(POINTING, rows.SPARC_LAST, rows.NO_LOCAL_LOSS),
            Comparison(OVERLAP, rows.SPARC_LAST, rows.NO_LOCAL_LOSS),
            Comparison(POINTING, rows.SPARC_LAST, 0.0, control=ANOTHER_WORD),
        ),
        "1c: pointing, less pointing by the word of another ball with the same maps. A map that has learnt its word "
        "points better than another word's.",
    ),
    Claim(
        "The embeddings are not deep enough",
        "The report: at the embedding layers the local loss is not deep enough.",
        "controls",
        (
            *_both(rows.SPARC_LAST, rows.SPARC_EMBEDDINGS),
            Comparison(OVERLAP, rows.SPARC_LAST, rows.SPARC_EMBEDDINGS),
            Comparison(SPARC_LOSS, rows.SPARC_LAST, rows.SPARC_EMBEDDINGS, lower=True),
        ),
        "Neither row has learnt to point, so this says little; the next claim compares rows that have.",
    ),
    Claim(
        "The embeddings are not deep enough for a contrast across clips",
        "The same claim, for the local loss of this project.",
        "controls",
        _both(rows.LAST_ALONE, rows.EMBEDDINGS_ALONE),
        "The maps of the one are read after the last block, those of the other at the embeddings, before any block: a "
        "patch's own pixels against a word's own token. What a patch has gathered of the whole clip makes it point "
        "worse.",
    ),
    Claim(
        "The language mask",
        "The report: with the language mask the local loss does much better than without.",
        "controls",
        (
            *_both(rows.SPARC_LAST, rows.SPARC_UNMASKED),
            Comparison(ON_BALLS, rows.SPARC_LAST, rows.SPARC_UNMASKED),
        ),
        "The mask leaves abstract phrases to the global loss. In these captions they are drawn at random, so that no "
        "encoder can tell a clip's own one: the columns of phrases in the table of local losses show that none does, "
        "and that another phrase costs none of them retrieval.",
    ),
    Claim(
        "Content words instead of real tokens",
        "The report masks words that name nothing visible, where SPARC masks padding alone.",
        "controls",
        _both(rows.SPARC_LAST, "SPARC, last block, padding"),
    ),
    Claim(
        "Both losses agree in direction",
        "The report: a global and a local loss on the same features pull the same way.",
        "controls",
        tuple(Comparison(f"cosine/vision/{layer}", rows.SPARC_LAST, 0.0) for layer in VIDEO_LAYERS),
        "The cosine of the gradients of the global loss and of SPARC's, by layer of the video tower: of one batch of "
        "held-out clips, mean over eight steps of the run. 1 is agreement, 0 none. The chart has the eight steps.",
    ),
    Claim(
        "The contrast across clips agrees with the global loss",
        "This project: so does its own local loss.",
        "controls",
        tuple(Comparison(f"cosine/vision/{layer}", rows.DEMO_LOSS, 0.0) for layer in VIDEO_LAYERS),
    ),
    Claim(
        "Every block, the deeper the more",
        "The report's setting 4: the local loss at every block, with weights that rise from 0.1 to 1.",
        "controls",
        (
            Comparison(POINTING, rows.SPARC_EVERY, rows.SPARC_LAST),
            Comparison(POINTING, rows.SPARC_EVERY, "SPARC, every block, content, even weights"),
        ),
    ),
    Claim(
        "A token should drop patches",
        "SPARC (arXiv 2401.09865): a token drops the patches below 1/P of its best one's similarity.",
        "controls",
        _both(rows.SPARC_LAST, "SPARC, last block, content, nothing dropped"),
    ),
    Claim(
        "1/P is a good threshold",
        f"SPARC chooses 1/P. That is no worse, by {ALLOWED}, than half of it, twice it, or a clip's best 16 patches.",
        "controls",
        tuple(
            Comparison(POINTING, rows.SPARC_LAST, f"SPARC, last block, content, {other}", allowed=ALLOWED)
            for other in ("half the threshold", "twice the threshold", "the best 16 patches")
        ),
        "A clip has 384 patches here, so that all three thresholds are below 0.006 of the best similarity.",
    ),
    Claim(
        "SPARC goes by position",
        "This project: inside one caption token k can take patch set k, so that SPARC's loss can fall by places alone. "
        "Then it falls less without positions, and points better.",
        "controls",
        (
            Comparison(SPARC_LOSS, rows.SPARC_LAST, _NO_POSITIONS, lower=True),
            Comparison(POINTING, _NO_POSITIONS, rows.SPARC_LAST),
        ),
        "Shuffled positions at evaluation are a column of the table of local losses. They show nothing of a row that "
        "points no better than by chance, for it has nothing to lose.",
    ),
    Claim(
        "The contrast across clips needs no positions",
        f"This project: without positions it points no worse, by {ALLOWED}, and better than SPARC does with them.",
        "controls",
        (
            Comparison(POINTING, _DEMO_NO_POSITIONS, rows.DEMO_LOSS, allowed=ALLOWED),
            Comparison(POINTING, _DEMO_NO_POSITIONS, rows.SPARC_LAST),
        ),
    ),
    Claim(
        "Contrast across clips",
        "This project: with the same heads, at the same levels, a word's evidence contrasted across clips points and "
        "retrieves better than SPARC's contrast within one.",
        "controls",
        _both(rows.DEMO_LOSS, rows.SAME_HEADS),
    ),
    Claim(
        "The local loss of the demo as a whole",
        "This project: it points and retrieves better than SPARC as published, and than no local loss.",
        "controls",
        (
            *_both(rows.DEMO_LOSS, rows.SPARC_LAST),
            *_both(rows.DEMO_LOSS, rows.NO_LOCAL_LOSS),
            Comparison(RETRIEVAL, rows.DEMO_LOSS, rows.POOLED_ALONE),
        ),
        "These rows differ in more than the contrast: in the heads, the levels that are tapped, the queries, the "
        "weight, and in that local features are pooled into the clip's embedding. The last row pools them without a "
        "local loss; its words are not trained to point, so that its pointing says nothing.",
    ),
    Claim(
        "One query for each thing",
        "This project: the tokens that name one thing are better one query than one each.",
        "controls",
        _both(rows.DEMO_LOSS, "the demo, one query per token"),
    ),
    Claim(
        "Clips that show the same thing are no negatives",
        "This project: another clip that shows the thing that a word names is better left out of that word's contrast.",
        "controls",
        _both(rows.DEMO_LOSS, "the demo, same objects not excluded"),
    ),
    Claim(
        "SPARC beside the contrast across clips hurts",
        "This project: added at a quarter, SPARC costs pointing and retrieval.",
        "controls",
        _both(rows.DEMO_LOSS, "both contrasts, SPARC at a quarter"),
    ),
    Claim(
        "More layers of token mining, lower loss",
        "The report's Figure 3: dual projectors have the lowest loss, two linear maps a lower one than one.",
        "connectors",
        (
            Comparison(TRAINING_LOSS, _alone(rows.RELEASED), _alone(rows.TWO_LINEAR), lower=True),
            Comparison(TRAINING_LOSS, _alone(rows.TWO_LINEAR), _alone(rows.ONE_LINEAR), lower=True),
        ),
    ),
    Claim(
        "More layers of token mining, better answers",
        "The report shows losses only. This is the same order, by answers.",
        "connectors",
        (
            Comparison(ANSWERS, _alone(rows.RELEASED), _alone(rows.TWO_LINEAR)),
            Comparison(ANSWERS, _alone(rows.TWO_LINEAR), _alone(rows.ONE_LINEAR)),
        ),
    ),
    Claim(
        "Two towers instead of one",
        "The report reads key frames through a Long-CLIP beside the video tower.",
        "connectors",
        (Comparison(ANSWERS, rows.LONG_CLIP, _alone(rows.RELEASED)),),
        "The Long-CLIP of the demo is trained on the same clips; the report's is pretrained.",
    ),
    Claim(
        "Key frames by a fixed rule",
        f"The report chooses key frames by a fixed rule: no worse, by {ALLOWED}, than by what they show.",
        "connectors",
        (Comparison(ANSWERS, _alone(rows.RELEASED), rows.BY_CONTENT, allowed=ALLOWED),),
    ),
    Claim(
        "Tracks carry what the connector forgets",
        "This project: with word tracks (docs/word-tracks.md) a connector answers better than without. Tested with "
        "three.",
        "connectors",
        tuple(Comparison(ANSWERS, name, _alone(name)) for name in (rows.RELEASED, rows.POSITIONS, rows.FRAME_MEAN)),
    ),
)
