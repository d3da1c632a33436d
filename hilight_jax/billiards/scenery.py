"""Draws the looks of a clip: cloth, wood, floor, light, camera quality, banner and people."""

import dataclasses

import numpy as np

from hilight_jax.billiards import people, table_marks
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.placing import Setup
from hilight_jax.billiards.rendering import looks
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.layers import Banner
from hilight_jax.billiards.rendering.scene import Scene
from hilight_jax.billiards.worlds import World


@dataclasses.dataclass(frozen=True)
class Quality:
    """The quality of a clip's pictures.

    Attributes:
      shutter: exposure of a frame, seconds.
      exposures: instants averaged within the shutter.
      quantizer: coarseness of the stored video's compression, 2 (finest) to 31.
    """

    shutter: float
    exposures: int
    quantizer: int


def scene(
    world: World, setup: Setup, lens: Camera, table: Table, cloth: str, unseen: bool, rng: np.random.Generator
) -> Scene:
    """Draws the scene of a clip.

    Args:
      world: the world.
      setup: the shot.
      lens: the camera.
      table: the table.
      cloth: colour of the cloth.
      unseen: True for the looks that training never shows.
      rng: draws everything else.
    """
    has_banner = world.banner > 0 and rng.random() < world.banner
    textures = world.unseen_textures if unseen else world.textures
    return Scene(
        lens,
        table,
        cloth=cloth,
        wood=pick(world.woods, rng),
        floor=pick(tuple(looks.FLOORS), rng),
        lights=pick(tuple(looks.LIGHTS), rng),
        exposure=rng.uniform(*world.exposure),
        noise=rng.uniform(*world.noise),
        seed=int(rng.integers(2**31)),
        score=Banner(tuple(int(score) for score in rng.integers(20, size=2))) if has_banner else None,
        texture=textures[0] if len(textures) == 1 else pick(textures, rng),
        marks=table_marks.draw(world, setup, table, rng),
        balance=_balance(world, rng),
    )


def _balance(world: World, rng: np.random.Generator) -> tuple[float, float, float]:
    """Draws the white balance: factors of red and blue, green stays; nothing where the world has none."""
    if not world.balance:
        return (1.0, 1.0, 1.0)
    red, blue = np.exp(rng.uniform(-world.balance, world.balance, 2))
    return (float(red), 1.0, float(blue))


def quality(world: World, rng: np.random.Generator) -> Quality:
    """Draws the quality of a clip's pictures; nothing is drawn at random where the world leaves no choice."""
    is_blurred = world.blurred == 1 or (world.blurred > 0 and rng.random() < world.blurred)
    low, high = world.quantizer
    quantizer = low if low == high else int(rng.integers(low, high + 1))
    return Quality(world.shutter if is_blurred else 0.0, world.exposures if is_blurred else 1, quantizer)


def cast(world: World, setup: Setup, lens: Camera, has_stick: bool, rng: np.random.Generator) -> tuple:
    """Draws the people of a clip, each kind of them in its share of the clips."""
    if not world.people:
        return ()
    found = []
    if has_stick and rng.random() < 2 * world.people:
        found.append(people.bridge(setup, rng))
    if rng.random() < world.people:
        found.append(people.arm(setup, world.window[1], rng))
    if rng.random() < world.people:
        found.append(people.body(setup, lens, rng))
    return tuple(found)
