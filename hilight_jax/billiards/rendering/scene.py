"""A scene of pool and its frames: the table drawn once per shot; shadows, balls, cue and sensor noise per frame."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.rendering import background, cue, limbs, looks, rods, spheres
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.layers import Banner, Layer, draw_banner, lay_over
from hilight_jax.billiards.rendering.marks import NO_MARKS, Marks

Ball: TypeAlias = tuple[str, np.ndarray, np.ndarray]  # id, position [3] in metres, rotation [3, 3] from ball to world
Stick: TypeAlias = tuple[np.ndarray, np.ndarray]  # tip [3], butt [3], in metres
_NOISE_MARGIN = 16  # the noise of a frame is one of 16 x 16 windows of one field


class Moment(NamedTuple):
    """The things of a scene that move, at one moment.

    Attributes:
      balls: id, position and rotation of every ball on the table.
      stick: tip and butt of the cue, if it is there.
      people: the parts of people that may be in the picture.
    """

    balls: Sequence[Ball]
    stick: Stick | None = None
    people: Sequence[limbs.Limb] = ()


class _Drawn(NamedTuple):
    """A ball as it was drawn: its position and rotation, shadow, visible layer, and the area of its whole disc."""

    pose: tuple[bytes, bytes]
    shadow: tuple[slice, slice, np.ndarray] | None
    layer: Layer | None
    area: float


class Scene:
    """A table in front of a camera, in some light."""

    def __init__(
        self,
        camera: Camera,
        table: Table,
        cloth: str = "blue",
        wood: str = "walnut",
        floor: str = "charcoal",
        lights: str = "lamps",
        exposure: float = 1.0,
        noise: float = 2.5,
        seed: int = 0,
        score: Banner | None = None,
        texture: str = "plain",
        marks: Marks = NO_MARKS,
        balance: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ):
        """Draws the empty table.

        The looks are keys of ``looks.CLOTHS``, ``looks.WOODS``, ``looks.FLOORS``, ``looks.LIGHTS`` and, of the cloth,
        ``textures.TEXTURES``. ``exposure`` is a factor of the brightness, ``noise`` the standard deviation of the
        sensor's noise, of 255. ``seed`` draws the cloth's grain and the noise: equal scenes draw equal frames in equal
        order. ``score`` is a broadcast's banner to lay over the picture. ``marks`` lie on the
        table. ``balance`` are factors of red, green and blue, the camera's white balance.

        Raises:
          ConfigError: a look's name is unknown.
        """
        finish = background.Finish(
            looks.rgb(looks.look(looks.CLOTHS, "cloth", cloth)),
            looks.rgb(looks.look(looks.WOODS, "wood", wood)),
            looks.rgb(looks.look(looks.FLOORS, "floor", floor)),
            texture,
            marks,
        )
        lighting = looks.look(looks.LIGHTS, "lights", lights)
        tinted = tuple(light * factor for light, factor in zip(lighting.tint, balance, strict=True))
        lighting = dataclasses.replace(lighting, tint=tinted)
        self.camera = camera
        self._rng = np.random.default_rng(seed)
        self._background = background.draw(camera, table, finish, lighting, exposure, self._rng)
        tint = looks.rgb(lighting.tint) * np.float32(exposure)
        bounce = 0.22 * finish.cloth * tint
        self._light = spheres.Light(*background.lamps(lighting, table), lighting.ambient, tint, bounce)
        self._banner = None if score is None else draw_banner(score, camera.height, camera.width)
        margin = _NOISE_MARGIN if noise else 0
        shape = (3, camera.height + margin, camera.width + margin)
        self._drawn: dict[str, _Drawn] = {}  # of the latest moment
        self._noise = noise * self._rng.standard_normal(shape, np.float32) if noise else None

    def blurred(self, states: Sequence[Moment]) -> tuple[np.ndarray, dict[str, float]]:
        """Draws a frame exposed while the balls move: the mean of the pictures of several moments.

        The moments are evenly spread over the time the shutter is open; one gives a sharp picture.

        Returns:
          The frame, uint8 [Y, X, 3], and per ball the fraction of its disc that is seen: not outside the picture, nor
          hidden by other balls, the rails, the stick, people or the banner. It is the mean over the moments, 0 at those
          where the ball is not on the table.

        Raises:
          ValueError: there is no state.
        """
        if not states:
            raise ValueError("A frame needs at least one state of the balls; none was given.")
        image, seen = self.expose(*states[0])
        for state in states[1:]:
            other, fractions = self.expose(*state)
            image += other
            seen = {ball: seen.get(ball, 0.0) + fractions.get(ball, 0.0) for ball in seen | fractions}
        image *= np.float32(1 / len(states))
        return self.develop(image), {ball: fraction / len(states) for ball, fraction in seen.items()}

    def expose(
        self, balls: Sequence[Ball], stick: Stick | None = None, people: Sequence[limbs.Limb] = ()
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Returns the noiseless picture, float32 [3, Y, X], and the fraction seen of every ball."""
        camera, scenery, light = self.camera, self._background, self._light
        image, depth = scenery.image.copy(), scenery.barrier.copy()
        self._drawn = {ball: self._draw(ball, position, rotation) for ball, position, rotation in balls}
        for drawn in self._drawn.values():
            if drawn.shadow is not None:
                rows, columns, factors = drawn.shadow
                image[:, rows, columns] *= factors
        if stick is not None:
            rods.cast_shadow(image, scenery, camera, stick, cue.RADII, light)
        for limb in people:
            limbs.darken(image, scenery, camera, limb, light)

        whole = {ball: 1.0 for ball, _, _ in balls}  # pixels of the disc
        shown = {ball: 0.0 for ball, _, _ in balls}  # those that are seen
        free = np.ones_like(depth)  # the share of each pixel that nearer balls leave to those behind
        layers = []
        for ball, _, _ in sorted(balls, key=lambda item: np.linalg.norm(np.subtract(item[1], camera.eye))):
            if self._drawn[ball].layer is None:
                continue
            whole[ball], layer = self._drawn[ball].area, self._drawn[ball].layer
            region = free[layer.box.slices()]
            shown[ball] = (layer.alpha * region).sum()
            region *= 1 - layer.alpha
            layers.append((ball, layer))
        for _, layer in reversed(layers):
            lay_over(image, depth, layer)
        rod = None if stick is None else cue.draw(camera, *stick, light)
        bodies = [limbs.draw(camera, limb, light) for limb in people]
        for cover in (rod, *bodies, self._banner):
            if cover is not None:
                cover = cover.behind(depth)
                for ball, layer in layers:
                    shown[ball] -= cover.over(layer)
                lay_over(image, depth, cover)
        return image, {ball: float(np.clip(shown[ball] / whole[ball], 0, 1)) for ball in whole}

    def _draw(self, ball: str, position: np.ndarray, rotation: np.ndarray) -> "_Drawn":
        """Draws a ball, or returns what was drawn for the latest moment if it has not moved since."""
        pose = (np.asarray(position).tobytes(), np.asarray(rotation).tobytes())
        latest = self._drawn.get(ball)
        if latest is not None and latest.pose == pose:
            return latest
        camera, scenery = self.camera, self._background
        shadow = spheres.shadow(scenery, camera, position, self._light)
        layer = spheres.draw(camera, ball, position, rotation, self._light)
        if layer is None:
            return _Drawn(pose, shadow, None, 1.0)
        seen = layer.clipped(camera.height, camera.width).behind(scenery.barrier)
        return _Drawn(pose, shadow, seen, layer.alpha.sum())

    def develop(self, image: np.ndarray) -> np.ndarray:
        """Adds noise to a picture [3, Y, X], in place, and returns it as uint8 [Y, X, 3]."""
        if self._noise is not None:
            row, column = self._rng.integers(_NOISE_MARGIN, size=2)
            image += self._noise[:, row : row + image.shape[1], column : column + image.shape[2]]
        image += 0.5
        np.clip(image, 0, 255, out=image)
        return np.ascontiguousarray(image.astype(np.uint8).transpose(1, 2, 0))
