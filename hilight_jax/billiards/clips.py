"""Makes labelled clips from seeds with physics, renderer and commentary."""

import dataclasses

import numpy as np

from hilight_jax.billiards.language.commentary import facts
from hilight_jax.billiards.language.footage import Footage, Namer
from hilight_jax.billiards.language.labels import language_labels
from hilight_jax.billiards.shooting import shoot
from hilight_jax.billiards.worlds import SPLITS, World


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip with its labels.

    Attributes:
      frames: uint8 [F, Y, X, C].
      labels: a JSON object: id, game, camera, cloth, sizes, times, captions with spans, objects with tracks, questions,
        clauses; in the rich style also false captions and talk (`language/labels.py`); where the world has plays also
        the play (act and layout) and the word for the cloth's colour.
      facts: the facts in the captions, as text, independent of wording; no two clips of a held-out split have the same.
      quantizer: coarseness of its compression when it is stored, 2 (finest) to 31.
    """

    frames: np.ndarray
    labels: dict
    facts: str
    quantizer: int = 2


def make_clip(world: World, split: str, number: int, attempt: int = 0, fps: float | None = None) -> Clip:
    """Makes one clip; the same arguments give the same clip, bit for bit.

    Its captions and questions are about the world's sampled frames even when ``fps`` is given.

    Args:
      world: the world.
      split: 'train', 'validation' or 'unseen'.
      number: of the clip in its split, from 0.
      attempt: draws another clip; `shards` counts it up where two held-out clips would have the same facts.
      fps: None for the world's sampled frames; otherwise frames per second of the same shot, for watching.
    """
    rng = np.random.default_rng([world.seed, SPLITS.index(split), number, attempt])
    filmed = shoot(world, split == "unseen", rng)
    footage, frames = filmed.footage, filmed.frames
    listed, told = facts(footage, world.style)
    name = Namer(world.style.numbers, world.balls)
    labels = {
        "id": f"billiards-{world.name}/{split}/{number:06d}",
        "seed": number,
        "attempt": attempt,
        "game": filmed.game,
        "camera": filmed.camera,
        "cloth": filmed.cloth,
        **({"play": " ".join(filmed.play), "cloth_colour": footage.cloth} if filmed.play else {}),
        **language_labels(footage, world.style, name, rng, trains=split == "train"),
    }
    if fps is not None:
        captioned, length = labels["frame_caption"]["frame"], float(footage.times[-1])
        labels["frame_caption"]["frame"] = round(float(footage.times[captioned]) * fps)
        frames, footage = filmed.film(np.arange(round(length * fps) + 1) / fps)
    events = [f"{happening.ball} {happening.kind} {happening.other}" for happening in told]
    told_facts = "; ".join([" ".join(sorted(listed)), *events])
    return Clip(frames, labels | _measures(frames, footage), told_facts, filmed.quality.quantizer)


def _measures(frames: np.ndarray, footage: Footage) -> dict:
    """Returns the measured part of the labels: sizes, times and the track of every named object, rounded."""
    num_frames, height, width, _ = frames.shape
    objects = {
        name: {
            "x": np.round(track.x, 2).tolist(),
            "y": np.round(track.y, 2).tolist(),
            "radius": np.round(track.radius, 2).tolist(),
            "visible": np.round(track.visible, 3).tolist(),
        }
        for name, track in footage.objects().items()
        if track.visible.any()
    }
    times = np.round(footage.times, 4).tolist()
    return {"height": height, "width": width, "num_frames": num_frames, "times": times, "objects": objects}
