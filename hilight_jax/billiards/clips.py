"""Makes labelled clips from seeds with physics, renderer and commentary."""

import dataclasses

import numpy as np

from hilight_jax.billiards import setups
from hilight_jax.billiards.filming import Take, random_rotations
from hilight_jax.billiards.language.commentary import captions, facts, frame_caption, pick
from hilight_jax.billiards.language.footage import Footage, Namer
from hilight_jax.billiards.language.questions import clauses, questions
from hilight_jax.billiards.physics.simulation import simulate
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.physics.trajectory import Shot
from hilight_jax.billiards.rendering import camera as cameras
from hilight_jax.billiards.rendering import looks
from hilight_jax.billiards.rendering.layers import Banner
from hilight_jax.billiards.rendering.scene import Scene
from hilight_jax.billiards.worlds import SPLITS, World

_TRIES = 1000
_TABLE = Table()


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip with its labels.

    Attributes:
      frames: uint8 [F, Y, X, C].
      labels: a JSON object: id, game, camera, cloth, sizes, times, captions with spans, objects with tracks, questions,
        clauses.
      facts: the facts in the captions, as text, independent of wording; no two clips of a held-out split have the same.
    """

    frames: np.ndarray
    labels: dict
    facts: str


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
    # A shot is played to its end, unless the window begins with the strike.
    time_limit = world.window[1] if world.window_at == "strike" else 30.0
    for _ in range(_TRIES):
        setup = setups.draw(world, _TABLE, rng)
        shot = simulate(_TABLE, setup.ball_ids, setup.positions, setup.strike, time_limit)
        start, times = _window(world, shot, rng)
        if not _keeps_the_rules(setup, shot):
            continue
        lens = cameras.sample(camera, rng, world.width, world.height, _TABLE, tuple(setup.focus))
        take = Take(_TABLE, shot, setup.strike, lens, start, world.cue_stick, random_rotations(len(shot.ball_ids), rng))
        if not _is_worth_showing(world, take.footage(times)):
            continue
        scene = _scene(world, lens, cloth, rng)
        frames, visible = take.frames(scene, times, world.shutter, world.exposures)
        footage = take.footage(times, visible)
        if _is_worth_showing(world, footage):
            break
    else:
        raise RuntimeError(f"no shot of world '{world.name}' meets its own rules for {split}/{number}; loosen them.")
    listed, told = facts(footage, world.style)
    name = Namer(world.style.numbers, world.balls)
    labels = {
        "id": f"billiards-{world.name}/{split}/{number:06d}",
        "seed": number,
        "attempt": attempt,
        "game": setup.game,
        "camera": camera,
        "cloth": cloth,
        "captions": captions(footage, world.style, rng),
        "frame_caption": frame_caption(footage, world.style, rng),
        "questions": questions(footage, name, rng),
        "clauses": clauses(footage, name),
    }
    if fps is not None:
        labels["frame_caption"]["frame"] = round(float(times[labels["frame_caption"]["frame"]]) * fps)
        times = np.arange(round(float(times[-1]) * fps) + 1) / fps
        frames, visible = take.frames(scene, times, world.shutter, world.exposures)
        footage = take.footage(times, visible)
    events = [f"{happening.ball} {happening.kind} {happening.other}" for happening in told]
    return Clip(frames, labels | _measures(frames, footage), "; ".join([" ".join(sorted(listed)), *events]))


def _window(world: World, shot: Shot, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Returns the start of the first frame on the shot's clock, and the times [F] of all frames after it, seconds."""
    length = rng.uniform(*world.window)
    if world.window_at == "strike":
        start, length = 0.0, min(length, shot.duration)
    else:
        moments = [event.time for event in shot.events if event.kind in ("ball_ball", "cushion", "pocket")] or [0.0]
        start = pick(moments, rng) - rng.uniform(0.3, 0.7) * length
        start = max(min(start, shot.duration + 0.3 - length), -world.lead)
    return start, np.linspace(0, length, world.num_frames)


def _keeps_the_rules(setup: setups.Setup, shot: Shot) -> bool:
    """Returns False if the cue ball of a nine-ball shot does not first meet the lowest ball on the table."""
    first = next((event.balls for event in shot.events if event.kind == "ball_ball"), ())
    return setup.game != "nine_ball" or setup.target in first


def _is_worth_showing(world: World, footage: Footage) -> bool:
    """Returns True if the frames show a ball and an event, with balls of the world's smallest size or more."""
    if any((track.radius[track.visible > 0] < world.smallest_ball).any() for track in footage.balls.values()):
        return False
    if not footage.shown or footage.balls_seen() == ["ball:cue"]:
        return False
    first = next((h for h in footage.happenings if h.kind == "strike"), None)
    return not world.all_in_view or (footage.nothing_hidden(0) and first is not None and first.shown)


def _scene(world: World, lens: cameras.Camera, cloth: str, rng: np.random.Generator) -> Scene:
    has_banner = world.banner > 0 and rng.random() < world.banner
    return Scene(
        lens,
        _TABLE,
        cloth=cloth,
        wood=pick(tuple(looks.WOODS), rng),
        floor=pick(tuple(looks.FLOORS), rng),
        lights=pick(tuple(looks.LIGHTS), rng),
        exposure=rng.uniform(0.9, 1.1),
        noise=rng.uniform(1.0, 4.0),
        seed=int(rng.integers(2**31)),
        score=Banner(tuple(int(score) for score in rng.integers(20, size=2))) if has_banner else None,
    )


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
