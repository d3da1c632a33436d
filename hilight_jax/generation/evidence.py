"""Evidence of an answer: what comes from a clip and contributed to it, traced back to the clip's patches.

Two steps are multiplied. A vector that the language model read contributes the size of its product with the gradient of
the answer's log-probability: the change of that log-probability, to first order, if the vector were nought. Such
vectors are the rows of the clip and, with word tracks, what words carry of it. Each then passes its part on: a mined
row by the attention of token mining to the tokens of the video tower, a thing's row and a word by the softmax of the
map that its track was measured on. The second step leaves out the context that the tower's deep patches have gathered,
so a map is a hint and no proof; `evaluate --evidence` measures it.

The language model's attention would be another first step. It tells how much of a row is read and not whether that
mattered to the answer, and much of it goes to rows that change nothing.
"""

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.generation.dialogue import Reply
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.pages.evidence import ShownClip, draw_evidence
from hilight_jax.pages.heatmaps import save_gif


class ClipEvidence(NamedTuple):
    """The share of an answer that one clip contributed; other clips and the text contributed the rest.

    Attributes:
      maps: [F, rows, columns], the part of each patch of each frame.
      proxies: [M], the part of the tower's proxy tokens, which have no place in the picture.
    """

    maps: Float[np.ndarray, "F rows columns"]
    proxies: Float[np.ndarray, " M"]

    @property
    def share(self) -> float:
        """The share of the whole clip."""
        return float(self.maps.sum() + self.proxies.sum())


def write_evidence(path: Path, generator: Generator, reply: Reply) -> list[float]:
    """Writes a GIF of a reply's evidence and returns the share that each clip contributed.

    The title of a clip gives the part of its share that went to proxies, the note below a frame the part of the frame.

    Raises:
      DataError: The reply is empty, or no clip was shown.
    """
    traced = trace_answer(generator, reply.prompt, reply.ids)
    shown = []
    for number, (clip, evidence) in enumerate(zip(reply.clips, traced, strict=True), 1):
        whole = evidence.maps.sum() + evidence.proxies.sum()
        name = clip.name if len(traced) == 1 else f"{number}: {clip.name}"
        notes = [
            f"frame {frame + 1} of {clip.num_total}: {part:.0%}"
            for frame, part in zip(clip.numbers, evidence.maps.sum(axis=(1, 2)) / whole, strict=True)
        ]
        title = f"{name} (proxies: {evidence.proxies.sum() / whole:.0%})"
        shown.append(ShownClip(title, clip.pictures, evidence.maps, notes))
    save_gif(path, draw_evidence(reply.question, reply.text, shown))
    return [evidence.share for evidence in traced]


def trace_answer(generator: Generator, prompt: Prompt, answer_ids: Int[np.ndarray, " n"]) -> list[ClipEvidence]:
    """Traces an answer back to the patches of every clip of its prompt.

    Raises:
      DataError: The answer is empty, or no clip was shown.
    """
    if not len(answer_ids) or not prompt.clips:
        missing = "clip was shown" if len(answer_ids) else "answer was given"
        raise DataError(f"there is no evidence to draw: no {missing} yet.")
    own, carried = generator.contributions(prompt, answer_ids)
    rows = np.split(own[prompt.ids == VIDEO_ID], np.cumsum([len(clip.tokens) for clip in prompt.clips])[:-1])
    config = generator.config
    traced = [trace_rows(config, *pair) for pair in zip(rows, (c.attention for c in prompt.clips), strict=True)]
    if generator.words is None:
        return traced
    shown = generator.words.shown(prompt.ids, prompt.clips)
    words = trace_words(carried, shown, traced[0].maps.shape)
    return [one._replace(maps=one.maps + more) for one, more in zip(traced, words, strict=True)]


def trace_rows(config: HiLightConfig, rows: Float[np.ndarray, " V"], sources: Float[np.ndarray, "V S"]) -> ClipEvidence:
    """Distributes the parts of a clip's rows over the tokens that they come from.

    The rows of ``sources`` (``ClipFeatures.attention``) sum to 1.
    """
    side = config.vision.image_size // config.vision.patch_size
    proxies, patches = np.split(rows @ sources, [config.vision.num_proxy_tokens])
    return ClipEvidence(patches.reshape(-1, side, side), proxies)


def trace_words(
    weights: Float[np.ndarray, " n"],
    shown: Sequence[Mapping[int, Float[np.ndarray, "F P"]]],
    shape: tuple[int, ...],
) -> list[Float[np.ndarray, "F rows columns"]]:
    """Distributes the parts of words over the patches that their tracks were measured on.

    A word that carries tracks of several clips gives each an even part.

    Args:
      weights: What each row of the prompt carries contributed.
      shown: For each clip, the map of every row that carries its track, as shares that sum to 1.
      shape: Frames, rows and columns of a clip's patches.
    """
    num_clips = collections.Counter(row for clip in shown for row in clip)
    maps = [np.zeros(shape) for _ in shown]
    for of_clip, clip in zip(maps, shown, strict=True):
        for row, shares in clip.items():
            of_clip += weights[row] / num_clips[row] * shares.reshape(shape)
    return maps
