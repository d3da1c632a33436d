"""Finds a shot that is worth showing and films it."""

import dataclasses

import numpy as np

from hilight_jax.billiards import prospects, scenery, setups, staging
from hilight_jax.billiards.filming import Take, random_rotations
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import Footage
from hilight_jax.billiards.physics.simulation import simulate
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.rendering import camera as cameras
from hilight_jax.billiards.rendering.looks import CLOTH_WORDS
from hilight_jax.billiards.rendering.scene import Scene
from hilight_jax.billiards.worlds import World

_TRIES = 1000
_TABLE = Table()


@dataclasses.dataclass(frozen=True)
class Filmed:
    """A shot as it was filmed.

    Attributes:
      game: 'eight_ball' or 'nine_ball'.
      camera: name of the camera.
      cloth: name of the cloth.
      play: act and layout, where the world has plays.
      footage: of the sampled frames.
      frames: uint8 [F, Y, X, C].
      take: the shot before its camera.
      scene: what else is in the pictures.
      quality: of the pictures.
    """

    game: str
    camera: str
    cloth: str
    play: tuple[str, str] | None
    footage: Footage
    frames: np.ndarray
    take: Take
    scene: Scene
    quality: scenery.Quality

    def film(self, times: np.ndarray) -> tuple[np.ndarray, Footage]:
        """Films the same shot at other ``times`` [F], seconds after the first frame: frames and their footage."""
        frames, visible = self.take.frames(self.scene, times, self.quality.shutter, self.quality.exposures)
        footage = self.take.footage(times, visible)
        return frames, dataclasses.replace(footage, cloth=self.footage.cloth, size=self.footage.size)


def shoot(world: World, unseen: bool, rng: np.random.Generator) -> Filmed:
    """Draws shots until one is worth showing, and films it.

    Args:
      world: the world.
      unseen: True for the cameras and looks that training never shows.
      rng: draws everything.

    Raises:
      RuntimeError: none of many shots keeps the world's rules.
    """
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
        has_stick = world.cue_stick and act not in staging.WITHOUT_CUE_BALL
        rotations = random_rotations(len(shot.ball_ids), rng)
        people = scenery.cast(world, setup, lens, has_stick, rng)
        take = Take(_TABLE, shot, setup.strike, lens, start, has_stick, rotations, people, world.late_turns)
        if not staging.is_worth_showing(world, act, take.footage(times)):
            continue
        if act in staging.UNFINISHED and not prospects.is_settled(setup, shot, _TABLE):
            continue
        scene = scenery.scene(world, setup, lens, _TABLE, cloth, unseen, rng)
        quality = scenery.quality(world, rng)
        frames, visible = take.frames(scene, times, quality.shutter, quality.exposures)
        footage = take.footage(times, visible)
        if staging.is_worth_showing(world, act, footage):
            break
    else:
        raise RuntimeError(f"no shot of world '{world.name}' keeps its rules in {_TRIES} tries; loosen them.")
    if world.looks_ahead:
        outlook = prospects.outlook(setup, shot, start + times[-1], footage, take.names, _TABLE, rng)
        size = (world.width, world.height)
        footage = dataclasses.replace(footage, outlook=outlook, cloth=CLOTH_WORDS[cloth], size=size)
    return Filmed(setup.game, camera, cloth, play, footage, frames, take, scene, quality)
