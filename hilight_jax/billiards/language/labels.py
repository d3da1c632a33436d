"""Writes the language of a clip's labels: captions, questions and clauses, in a world's style."""

import numpy as np

from hilight_jax.billiards.language.clauses import clauses
from hilight_jax.billiards.language.commentary import Style, caption_sentences, captions, facts, frame_caption
from hilight_jax.billiards.language.footage import Footage, Namer
from hilight_jax.billiards.language.questions import questions
from hilight_jax.billiards.language.rich_questions import comparison, rich_questions, talks
from hilight_jax.billiards.language.sentences import written
from hilight_jax.billiards.language.swaps import swapped


def language_labels(footage: Footage, style: Style, name: Namer, rng: np.random.Generator, trains: bool) -> dict:
    """Writes the labels of one clip.

    Args:
      footage: the clip.
      style: of the world.
      name: words for the world's objects.
      rng: draws the words.
      trains: True for a clip that is trained on; only others get held-out wordings.

    Returns:
      'captions', 'frame_caption', 'questions' and 'clauses'; in the rich style also 'swaps' (captions made false),
      'comparison' (the wording of a question about two clips) and 'talks' (questions that need no clip).
    """
    if not style.rich:
        return {
            "captions": captions(footage, style, rng),
            "frame_caption": frame_caption(footage, style, rng),
            "questions": questions(footage, name, rng),
            "clauses": clauses(footage, name),
        }
    listed, told = facts(footage, style)
    sentences = [caption_sentences(footage, listed, told, style, rng) for _ in range(style.variants)]
    return {
        "captions": [written(caption.all) for caption in sentences],
        "swaps": swapped(footage, sentences, told, rng),
        "frame_caption": frame_caption(footage, style, rng),
        "questions": rich_questions(footage, name, rng, trains),
        "clauses": clauses(footage, name),
        "comparison": comparison(rng, trains),
        "talks": talks(rng, trains),
    }
