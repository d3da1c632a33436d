"""Makes labelled clips from seeds with physics, renderer and commentary."""

import dataclasses

import numpy as np

from hilight_jax.billiards import prospects, scenery, setups, staging
from hilight_jax.billiards.filming import Take, random_rotations
from hilight_jax.billiards.language.commentary import facts, pick
from hilight_jax.billiards.language.footage import Footage, Namer
from hilight_jax.billiards.language.labels import language_labels
from hilight_jax.billiards.physics.simulation import simulate
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.rendering import camera as cameras
from hilight_jax.billiards.rendering.looks import CLOTH_WORDS
from hilight_jax.billiards.worlds import SPLITS, World

_TRIES = 1000
_TABLE = Table()


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip with its labels.

    Attributes:
      frames: uint8 [F, Y, X, C].
      labels: a JSON object: id, game, camera, cloth, sizes, times, captions with spans, objects with tracks, questions,
        clauses; in the rich style also false captions and talk (`language/labels.py`).
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
    unseen = split == "unseen"
    camera = pick(world.unseen_cameras if unseen else world.cameras, rng)
    cloth = pick(world.unseen_cloths if unseen else world.cloths, rng)
    plays = [(act, layout) for act, layout, weight in world.plays for _ in range(weight)]
    play = pick(plays, rng) if plays else None
    act = play[0] if play else "shot"
    # A shot is played to its end, unless the window begins with the strike and nobody looks ahead.
    time_limit = world.window[1] if world.window_at == "strike" and not world.looks_ahead else 30.0
    for _ in range(_TRIES):
        setup = setups.draw(world, play, _TABLE, rng)
        shot = simulate(_TABLE, setup.ball_ids, setup.positions, setup.strike, time_limit, setup.potted)
        window = staging.window(world, act, shot, rng)
        if window is None or not staging.keeps_the_rules(setup, shot):
            continue
        start, times = window
        lens = cameras.sample(camera, rng, world.width, world.height, _TABLE, tuple(setup.focus))
        has_stick = world.cue_stick and act not in ("rolling", "rest")
        rotations = random_rotations(len(shot.ball_ids), rng)
        people = scenery.cast(world, setup, lens, has_stick, rng)
        take = Take(_TABLE, shot, setup.strike, lens, start, has_stick, rotations, people, world.late_turns)
        if not staging.is_worth_showing(world, act, take.footage(times)):
            continue
        if act in ("early", "nearly") and not prospects.is_settled(setup, shot, _TABLE):
            continue
        scene = scenery.scene(world, lens, _TABLE, cloth, unseen, rng)
        quality = scenery.quality(world, rng)
        frames, visible = take.frames(scene, times, quality.shutter, quality.exposures)
        footage = take.footage(times, visible)
        if staging.is_worth_showing(world, act, footage):
            break
    else:
        raise RuntimeError(f"no shot of world '{world.name}' meets its own rules for {split}/{number}; loosen them.")
    if world.looks_ahead:
        ahead = prospects.outlook(setup, shot, start + times[-1], footage, take.names, _TABLE, rng)
        seen = {"cloth": CLOTH_WORDS[cloth], "size": (world.width, world.height)}
        footage = dataclasses.replace(footage, outlook=ahead, **seen)
    listed, told = facts(footage, world.style)
    name = Namer(world.style.numbers, world.balls)
    labels = {
        "id": f"billiards-{world.name}/{split}/{number:06d}",
        "seed": number,
        "attempt": attempt,
        "game": setup.game,
        "camera": camera,
        "cloth": cloth,
        **language_labels(footage, world.style, name, rng, trains=split == "train"),
    }
    if fps is not None:
        labels["frame_caption"]["frame"] = round(float(times[labels["frame_caption"]["frame"]]) * fps)
        times = np.arange(round(float(times[-1]) * fps) + 1) / fps
        frames, visible = take.frames(scene, times, quality.shutter, quality.exposures)
        footage = dataclasses.replace(take.footage(times, visible), cloth=footage.cloth, size=footage.size)
    events = [f"{happening.ball} {happening.kind} {happening.other}" for happening in told]
    told_facts = "; ".join([" ".join(sorted(listed)), *events])
    return Clip(frames, labels | _measures(frames, footage), told_facts, quality.quantizer)


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
