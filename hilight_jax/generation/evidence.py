"""Evidence of an answer: the language model's attention to a clip's rows, traced back to the clip's patches.

Two steps of attention are multiplied. Gemma's attention goes from the rows that the answer's tokens were predicted from
to the video rows, and is averaged over layers, heads and tokens. Token mining's attention goes from each video row to
the tokens of the video tower. Both are weights that the model used. They leave out the values of the rows, the residual
streams, and the context that the tower's deep patches have gathered, so a map is a hint and no proof.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.generation.dialogue import Reply
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.models.hilight import HiLightConfig
from hilight_jax.pages.evidence import ShownClip, draw_evidence
from hilight_jax.pages.heatmaps import save_gif


class ClipEvidence(NamedTuple):
    """The share of an answer's attention that one clip received; the rest went to other clips and to the text.

    Attributes:
      maps: [F, rows, columns], the part of each patch of each frame.
      proxies: [M], the part of the tower's proxy tokens, which have no place in the picture.
      key_frames: [keys], the same share split by the key frames of the clip's rows.
    """

    maps: Float[np.ndarray, "F rows columns"]
    proxies: Float[np.ndarray, " M"]
    key_frames: Float[np.ndarray, " keys"]

    @property
    def share(self) -> float:
        """The share of the whole clip."""
        return float(self.key_frames.sum())


def write_evidence(path: Path, generator: Generator, reply: Reply) -> list[float]:
    """Writes a GIF of a reply's evidence and returns the share of attention that each clip received.

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
    weights = generator.attention(prompt, answer_ids).mean(axis=0)[prompt.ids == VIDEO_ID]
    rows = np.split(weights, np.cumsum([len(clip.tokens) for clip in prompt.clips])[:-1])
    return [trace_rows(generator.config, *pair) for pair in zip(rows, (c.attention for c in prompt.clips), strict=True)]


def trace_rows(config: HiLightConfig, rows: Float[np.ndarray, " V"], mined: Float[np.ndarray, "V S"]) -> ClipEvidence:
    """Distributes the attention that a clip's rows received over the tokens that they were mined from.

    The rows of ``mined``, token mining's attention, sum to 1.
    """
    side = config.vision.image_size // config.vision.patch_size
    proxies, patches = np.split(rows @ mined, [config.vision.num_proxy_tokens])
    key_frames = rows.reshape(-1, config.token_mining.tokens_per_frame).sum(axis=1)
    return ClipEvidence(patches.reshape(-1, side, side), proxies, key_frames)
