"""Makes films of whole matches with the truth about them: strokes with their times, cuts, replays, interludes.

They are made to judge with and not to train on. The same world and number give the same film. The balls lie still most
of the time; a still picture is drawn once, and only its noise is drawn anew.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator

import numpy as np

from hilight_jax.billiards import match_aiming, match_pictures, match_play, match_script, scenery
from hilight_jax.billiards.encoding import write_video
from hilight_jax.billiards.filming import Take
from hilight_jax.billiards.language.commentary import captions, pick
from hilight_jax.billiards.language.footage import Footage
from hilight_jax.billiards.match_script import Part
from hilight_jax.billiards.physics.table import BALL_RADIUS
from hilight_jax.billiards.rendering import camera as cameras
from hilight_jax.billiards.rendering.scene import Moment, Scene
from hilight_jax.billiards.worlds import World

WIDTH, HEIGHT = 224, 160
_RATES = (12.0, 12.5, 15.0)
_MAIN_VIEWS = ("top", "side", "corner")
_OTHER_VIEWS = ("top", "side", "corner", "corner")  # One camera above, one at the end: turned about they look alike.
_LATE = 0.15  # Share of the frames that a phone leaves out.
_STEP = 0.25  # Seconds between the frames that a stroke's caption tells of.


@dataclasses.dataclass(frozen=True)
class Match:
    """A match before it is drawn.

    Attributes:
      name: of the film.
      rate: frames a second.
      is_uneven: True if some frames are left out, as phones do.
      manner: habits of the direction.
      parts: the script.
      turns: the strokes.
      aims: cue and people of every stroke.
      lenses: the cameras.
      scenes: the table in front of every camera.
      seed: of noise and pictures.
    """

    name: str
    rate: float
    is_uneven: bool
    manner: match_script.Manner
    parts: list[Part]
    turns: list[match_play.Turn]
    aims: list[match_aiming.Aiming]
    lenses: list[cameras.Camera]
    scenes: list[Scene]
    seed: int

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Draws the film: seconds from its beginning, and uint8 [Y, X, 3]."""
        rng = np.random.default_rng(self.seed)
        number, still, drawn = 0, None, None
        for part in self.parts:
            while (time := number / self.rate) < part.end:
                number += 1
                if self.is_uneven and number > 1 and rng.random() < _LATE:
                    continue
                if part.kind not in ("live", "replay"):
                    frame = self._interlude(part, time - part.start)
                else:
                    moment = self._moment(part.turn, part.clock + part.speed * (time - part.start))
                    key = (part.view, _fingerprint(moment))
                    if key != still:
                        still, (drawn, _) = key, self.scenes[part.view].expose(*moment)
                    frame = self.scenes[part.view].develop(drawn.copy())
                if self.manner.handheld:
                    frame = match_pictures.shaken(frame, self.manner.handheld, time, self.seed)
                yield time, frame

    def _moment(self, number: int, clock: float) -> Moment:
        turn, aim = self.turns[number], self.aims[number]
        states = turn.shot.states([clock])
        rotations = turn.shot.orientations([max(clock, 0.0)], turn.rotations)[0]
        balls = [
            (turn.setup.ball_ids[b], np.append(states.positions[0, b], BALL_RADIUS), rotations[b])
            for b in np.flatnonzero(states.on_table[0])
        ]
        return Moment(balls, aim.stick(clock), [limb for person in aim.people for limb in person.at(clock)])

    def _interlude(self, part: Part, clock: float) -> np.ndarray:
        if part.kind == "pan":
            return self._pan(part, clock)
        draw = {"people": match_pictures.people, "graphic": match_pictures.graphic, "sting": match_pictures.sting}
        seed = self.seed if part.kind == "sting" else self.seed + round(1000 * part.start)
        return draw[part.kind](WIDTH, HEIGHT, seed, clock)

    def _pan(self, part: Part, clock: float) -> np.ndarray:
        """A camera that wanders over the table, drawn as a window that moves over its picture."""
        moment = self._moment(part.turn, -60.0)
        picture = self.scenes[part.view].develop(self.scenes[part.view].expose(*moment)[0])
        share = 0.5 + 0.25 * np.sin(0.8 * clock + part.start)
        height, width = round(0.5 * HEIGHT), round(0.5 * WIDTH)
        top, left = round(0.25 * HEIGHT), round(share * (WIDTH - width))
        return np.repeat(np.repeat(picture[top : top + height, left : left + width], 2, 0), 2, 1)


def make_match(world: World, number: int, minutes: tuple[float, float]) -> Match:
    """Draws the match of a number, between the smallest and the largest of ``minutes`` long."""
    rng = np.random.default_rng([world.seed, 4711, number])
    manner, rate = match_script.draw_manner(rng), pick(_RATES, rng)
    seconds = 60 * rng.uniform(*minutes)
    main = pick(_MAIN_VIEWS, rng)
    others = list(_OTHER_VIEWS)
    others.remove(main)
    names = [main, *(others[k] for k in rng.permutation(len(others))[:2])]
    parts, turns = match_script.write(match_play.turns(world, rng), seconds, manner, len(names), rng)
    aims = []
    for k, turn in enumerate(turns):
        wait = max(-part.clock for part in parts if part.turn == k and part.kind == "live")
        aims.append(match_aiming.draw(turn.setup, wait, bool(rng.random() < manner.guests), rng))
    lenses = [cameras.sample(name, rng, WIDTH, HEIGHT, match_play.TABLE) for name in names]
    cloth, looks = pick(world.cloths, rng), int(rng.integers(2**31))
    scenes = [  # Equal generators: the same table and light in front of every camera.
        scenery.scene(world, turns[0].setup, lens, match_play.TABLE, cloth, False, np.random.default_rng(looks))
        for lens in lenses
    ]
    name = f"{world.name}-match-{number:06d}"
    is_uneven, seed = bool(manner.handheld and rng.random() < 0.7), int(rng.integers(2**31))
    return Match(name, rate, is_uneven, manner, parts, turns, aims, lenses, scenes, seed)


def truths(world: World, match: Match) -> dict:
    """Returns the truth about a match as a JSON object; times are seconds of the film."""
    strokes, rng = [], np.random.default_rng(match.seed)
    for k, turn in enumerate(match.turns):
        lives = [part for part in match.parts if part.kind == "live" and part.turn == k]
        struck = next(part for part in lives if part.clock <= 0 < part.clock + part.end - part.start)
        footage = _footage(match, k, struck.view)
        strokes.append(
            {
                "time": round(struck.start - struck.clock, 3),
                "end": round(lives[-1].start - lives[-1].clock + turn.shot.duration, 3),
                "caption": captions(footage, world.style, rng)[0]["text"],
                "facts": [f"{h.ball} {h.kind} {h.other}" for h in footage.happenings],
            }
        )
    shown = [part for part in match.parts if part.kind != "live"]
    return {
        "id": match.name,
        "world": world.name,
        "seconds": round(match.parts[-1].end, 3),
        "fps": match.rate,
        "width": WIDTH,
        "height": HEIGHT,
        "strokes": strokes,
        "cuts": [round(time, 3) for time in match_script.cuts(match.parts)],
        "replays": [
            {
                **_span(part),
                "of": part.turn,
                "speed": part.speed,
                "time": round(part.start - part.clock / part.speed, 3),
            }
            for part in shown
            if part.kind == "replay"
        ],
        "interludes": [{**_span(part), "kind": part.kind} for part in shown if part.kind != "replay"],
    }


def write_match(world: World, number: int, minutes: tuple[float, float], folder: pathlib.Path) -> tuple[str, dict]:
    """Writes the film of a match and its truth beside it; returns the film's path and the truth."""
    match = make_match(world, number, minutes)
    path, truth = folder / f"{match.name}.mp4", truths(world, match)
    write_video(path, match.frames(), match.rate, (WIDTH, HEIGHT))
    path.with_suffix(".json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return str(path), truth


def _footage(match: Match, number: int, view: int) -> Footage:
    turn = match.turns[number]
    take = Take(match_play.TABLE, turn.shot, turn.setup.strike, match.lenses[view], -0.5, True, turn.rotations)
    return take.footage(np.arange(0, turn.shot.duration + 1, _STEP))


def _span(part: Part) -> dict:
    return {"start": round(part.start, 3), "end": round(part.end, 3)}


def _fingerprint(moment: Moment) -> tuple:
    """Returns a key that equal moments share: the places of all that can move."""
    balls = tuple((ball, position.tobytes(), rotation.tobytes()) for ball, position, rotation in moment.balls)
    stick = None if moment.stick is None else tuple(end.tobytes() for end in moment.stick)
    return balls, stick, tuple((limb.start.tobytes(), limb.end.tobytes()) for limb in moment.people)
