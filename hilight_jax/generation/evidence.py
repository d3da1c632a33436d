"""What an answer drew on: the language model's attention to the rows of a clip, followed back to its patches.

Two steps of attention are multiplied. Gemma's, from the rows that the answer's tokens were predicted from to the video
rows, is averaged over layers, heads and tokens; token mining's says which tokens of the video tower each video row was
made of. Both are weights that the model used, and they leave out much: what each row carries, what residual streams mix
in, and that the tower's deep patches have seen more than their place. A map is a hint, no proof.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.generation.dialogue import Reply
from hilight_jax.generation.generator import Generator, Prompt
from hilight_jax.models.hilight import HiLightConfig
from hilight_jax.pages.evidence import ShownClip, draw_evidence
from hilight_jax.pages.heatmaps import save_gif


class ClipEvidence(NamedTuple):
    """The share of the answer's attention that one clip got; other clips and the words of the prompt got the rest.

    Attributes:
      maps: [F, rows, columns], of that what came from each patch of each frame.
      proxies: [M], of that what came from the tower's proxy tokens, which stand for no place.
      key_frames: The same share, by the key frame whose rows asked for it.
    """

    maps: Float[np.ndarray, "F rows columns"]
    proxies: Float[np.ndarray, " M"]
    key_frames: Float[np.ndarray, " keys"]

    @property
    def share(self) -> float:
        """Of the whole clip."""
        return float(self.key_frames.sum())


def write_evidence(path: Path, generator: Generator, reply: Reply) -> list[float]:
    """Writes a GIF of what a reply drew on and returns the share of its attention that each clip got.

    Above each clip stands the part of its share that has no place, below each frame the part that lies in it.

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
    """Follows an answer back to the patches of every clip of its prompt.

    Args:
      generator: The model that gave it.
      prompt: What was asked.
      answer_ids: What was said.

    Raises:
      DataError: The answer is empty, or no clip was shown.
    """
    if not len(answer_ids) or not prompt.clips:
        missing = "clip was shown" if len(answer_ids) else "answer was given"
        raise DataError(f"there is no evidence to draw: no {missing} yet.")
    weights = generator.attention(prompt, answer_ids).mean(axis=0)[prompt.ids == VIDEO_ID]
    rows = np.split(weights, np.cumsum([len(clip.tokens) for clip in prompt.clips])[:-1])
    return [follow(generator.config, *pair) for pair in zip(rows, (c.attention for c in prompt.clips), strict=True)]


def follow(config: HiLightConfig, rows: Float[np.ndarray, " V"], mined: Float[np.ndarray, "V S"]) -> ClipEvidence:
    """Follows the attention that a clip's rows got to where they were mined.

    Args:
      config: Sizes of the model.
      rows: What each row got.
      mined: Token mining's attention, whose rows sum to 1.
    """
    side = config.vision.image_size // config.vision.patch_size
    proxies, patches = np.split(rows @ mined, [config.vision.num_proxy_tokens])
    key_frames = rows.reshape(-1, config.token_mining.tokens_per_frame).sum(axis=1)
    return ClipEvidence(patches.reshape(-1, side, side), proxies, key_frames)
