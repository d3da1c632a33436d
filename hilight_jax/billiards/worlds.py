"""Named worlds of billiards clips.

A world is fixed: the same name and version give the same clips, bit for bit, with the same versions of the libraries
(NumPy draws and computes, PyAV encodes) on the same family of CPUs. Elsewhere the last bit of a float may differ, and
with it a pixel's value. `tests/billiards/test_same_clips.py` pins some clips: a change of them after a release
(here or in physics, renderer, commentary) needs a new version.
"""

import dataclasses

from hilight_jax.billiards.language.commentary import Style
from hilight_jax.billiards.rendering.camera import (
    TRAIN_CAMERAS,
    TRAIN_EDGE_CAMERAS,
    TRAIN_REAL_CAMERAS,
    UNSEEN_CAMERAS,
    UNSEEN_EDGE_CAMERAS,
)
from hilight_jax.billiards.rendering.looks import (
    PLAIN_WOODS,
    TRAIN_CLOTHS,
    TRAIN_EDGE_CLOTHS,
    UNSEEN_CLOTHS,
    UNSEEN_EDGE_CLOTHS,
    WOODS,
)
from hilight_jax.core.errors import ConfigError, UserError, nearest

SPLITS = ("train", "validation", "unseen")
ACTS = ("shot", "early", "nearly", "rolling", "rest")
EDGE_LAYOUTS = ("pocket", "rail", "group")


@dataclasses.dataclass(frozen=True)
class World:
    """All settings of a world's clips.

    Attributes:
      name: ends in its version, such as 'demo-v1'.
      version: of the generator's output, three numbers.
      seed: of all its clips.
      width: columns of a frame.
      height: rows of a frame.
      num_frames: sampled frames of a clip.
      games: 'eight_ball' (any balls) and 'nine_ball' (balls 1 to 9; the cue ball goes for the lowest).
      layouts: arrangements of balls, one drawn per clip: 'close' (around the focus, a gentle shot straight at a ball),
        'table' (anywhere, a shot that would pot a ball) or 'rack' (the opening break).
      num_balls: fewest and most balls on the table, the cue ball counted, but for a break.
      balls: the object balls of this world.
      speed: slowest and fastest speed of the cue ball when struck, m/s.
      close_speed: the same for the layout 'close' and for plays.
      early_speed: the same for the act 'early'.
      window: shortest and longest time between the first and the last frame, seconds; cut where all balls have stopped.
      window_at: 'strike' (the first frame shows the strike) or 'event' (an event of the shot lies well inside).
      lead: a window around an event begins at the earliest this long before the cue ball is struck, seconds.
      smallest_ball: a clip is drawn again when a ball in view has a smaller radius than this, pixels.
      all_in_view: a clip is drawn again unless every ball is in view in the first frame and the first strike is shown.
      cameras: of the splits train and validation.
      unseen_cameras: of the split unseen.
      cloths: of the splits train and validation.
      unseen_cloths: of the split unseen.
      cue_stick: show the cue before and at the strike.
      banner: share of the clips with a broadcast's score banner over the picture.
      shutter: exposure of a frame, seconds; moving balls blur over it.
      exposures: instants averaged within the shutter; 1 for none of it.
      blurred: share of the clips with a shutter; sharp otherwise.
      plays: (act, layout, weight) of `ACTS` and `EDGE_LAYOUTS`, one drawn per clip in proportion to the weights, in
        the place of ``layouts``; empty for none. Acts are 'shot'; 'early', a shot whose last frame comes before the
        first contact; 'nearly', one whose last frame comes before a ball falls; 'rolling', an object ball that rolls,
        and 'rest', in which nothing moves, both without the cue ball in the picture.
      late_turns: count a rebound as shown also where its turn is seen one frame later.
      textures: of the cloth, in the splits train and validation.
      unseen_textures: of the cloth, in the split unseen.
      people: share of the clips with an arm over the table, with a body beside it, and, doubled, with a bridge hand.
      exposure: darkest and brightest factor of the light.
      noise: smallest and largest standard deviation of the sensor's noise, of 255.
      balance: largest logarithm of the white balance's factors of red and of blue, to either side.
      woods: of the rails.
      printed: share of the clips with lines and logos printed on the cloth.
      projected: share of the clips with lines and rings that a projector throws on the cloth.
      tags: share of the clips with calibration tags on the rails.
      quantizer: finest and coarsest compression of stored clips, 2 to 31.
      looks_ahead: tell of events after the last frame and of changed shots, and name the cloth.
      style: of the captions.
      sizes: default clips of each split.
    """

    name: str
    version: str
    seed: int
    width: int
    height: int
    num_frames: int
    games: tuple[str, ...]
    layouts: tuple[str, ...]
    num_balls: tuple[int, int]
    balls: tuple[str, ...]
    speed: tuple[float, float]
    close_speed: tuple[float, float]
    window: tuple[float, float]
    window_at: str
    lead: float
    smallest_ball: float
    all_in_view: bool
    cameras: tuple[str, ...]
    unseen_cameras: tuple[str, ...]
    cloths: tuple[str, ...] = TRAIN_CLOTHS
    unseen_cloths: tuple[str, ...] = UNSEEN_CLOTHS
    cue_stick: bool = True
    banner: float = 0.0
    shutter: float = 0.0
    exposures: int = 1
    blurred: float = 1.0
    plays: tuple[tuple[str, str, int], ...] = ()
    late_turns: bool = False
    textures: tuple[str, ...] = ("plain",)
    unseen_textures: tuple[str, ...] = ("plain",)
    people: float = 0.0
    exposure: tuple[float, float] = (0.9, 1.1)
    noise: tuple[float, float] = (1.0, 4.0)
    balance: float = 0.0
    woods: tuple[str, ...] = PLAIN_WOODS
    printed: float = 0.0
    projected: float = 0.0
    tags: float = 0.0
    quantizer: tuple[int, int] = (2, 2)
    looks_ahead: bool = False
    early_speed: tuple[float, float] = (0.3, 0.5)
    style: Style = Style()
    sizes: tuple[tuple[str, int], ...] = (("train", 4064), ("validation", 256), ("unseen", 256))

    def __post_init__(self):
        if set(self.cameras) & set(self.unseen_cameras) or set(self.cloths) & set(self.unseen_cloths):
            raise ConfigError(f"world '{self.name}' trains on a camera or cloth also called unseen.")
        for act, layout, weight in self.plays:
            if act not in ACTS or layout not in EDGE_LAYOUTS or weight < 1:
                raise ConfigError(
                    f"world '{self.name}' has the play ({act}, {layout}, {weight}); acts are {', '.join(ACTS)}, "
                    f"layouts {', '.join(EDGE_LAYOUTS)}, weights at least 1."
                )
        if self.num_balls[1] > len(self.balls) + 1:
            raise ConfigError(f"world '{self.name}' wants {self.num_balls[1]} balls but has 1 + {len(self.balls)}.")


# The demo's test world: close enough for a ball to have a radius of 4 pixels of 64.
DEMO = World(
    name="demo-v1",
    version="1.0.0",
    seed=2407_07325,
    width=64,
    height=64,
    num_frames=4,
    games=("eight_ball",),
    layouts=("close",),
    num_balls=(3, 5),
    balls=("1", "2", "3", "4", "5", "6", "8"),
    speed=(1.2, 4.0),
    close_speed=(0.35, 0.8),
    window=(2.0, 2.0),
    window_at="strike",
    lead=0.0,
    smallest_ball=4.0,
    all_in_view=True,
    cameras=("close",),
    unseen_cameras=("close_low",),
    cue_stick=False,
    style=Style(numbers=False, max_tokens=45, variants=3),
)

# The table's edge, seen as closely as a ball of 4 pixels of 64 asks for. More than a quarter of the clips lacks the cue
# ball, and as many end before an event that their questions ask for. Six frames of 64 px show as many events as six of
# 80 px, for two thirds of the patches.
EDGE = World(
    name="demo-v2",
    version="1.0.0",
    seed=2411_17,
    width=64,
    height=64,
    num_frames=6,
    games=("eight_ball",),
    layouts=(),
    num_balls=(3, 6),
    balls=DEMO.balls,
    speed=(1.2, 4.0),
    close_speed=(0.45, 0.85),
    early_speed=(0.3, 0.5),
    window=(1.6, 2.4),
    window_at="strike",
    lead=0.4,
    smallest_ball=4.0,
    all_in_view=False,
    cameras=TRAIN_EDGE_CAMERAS,
    unseen_cameras=UNSEEN_EDGE_CAMERAS,
    cloths=TRAIN_EDGE_CLOTHS,
    unseen_cloths=UNSEEN_EDGE_CLOTHS,
    textures=("plain", "worn", "striped", "chalked"),
    unseen_textures=("checked", "faded"),
    plays=(
        ("shot", "pocket", 5),
        ("shot", "rail", 5),
        ("shot", "group", 1),
        ("early", "pocket", 4),
        ("early", "group", 1),
        ("nearly", "pocket", 2),
        ("rolling", "pocket", 5),
        ("rolling", "rail", 2),
        ("rest", "pocket", 1),
    ),
    late_turns=True,
    people=0.15,
    banner=0.15,
    exposure=(0.75, 1.2),
    noise=(1.0, 6.0),
    shutter=1 / 40,
    exposures=2,
    blurred=0.2,
    quantizer=(2, 10),
    looks_ahead=True,
    style=Style(numbers=False, max_tokens=45, variants=3, rich=True),
    sizes=(("train", 4000), ("validation", 1152), ("unseen", 1152)),
)

# The size that the real encoder trains on: 12 frames of 224 pixels around an event, the whole table and close-ups.
TABLE = World(
    name="table-v1",
    version="1.0.0",
    seed=2024_12,
    width=224,
    height=224,
    num_frames=12,
    games=("eight_ball", "nine_ball"),
    layouts=("table", "table", "table", "table", "close", "close", "close", "rack"),
    num_balls=(4, 9),
    balls=tuple(str(number) for number in range(1, 16)),
    speed=(1.2, 4.0),
    close_speed=(0.5, 1.5),
    window=(2.0, 3.0),
    window_at="event",
    lead=0.5,
    smallest_ball=1.5,
    all_in_view=False,
    cameras=TRAIN_CAMERAS,
    unseen_cameras=UNSEEN_CAMERAS,
    banner=0.25,
    style=Style(numbers=True, max_tokens=72, variants=3),
)

# As demo-v2, with what real pictures show beside it: marks, other light and exposure, cameras right above the table.
REAL = dataclasses.replace(
    EDGE,
    name="demo-v3",
    seed=2612_01,
    cameras=TRAIN_REAL_CAMERAS,
    woods=tuple(WOODS),
    exposure=(0.6, 1.7),
    noise=(1.0, 9.0),
    balance=0.25,
    printed=0.35,
    projected=0.4,
    tags=0.35,
    people=0.3,
)

WORLDS = {
    world.name: world
    for world in (
        DEMO,
        EDGE,
        # The same shots in eight frames of 112 px, for towers of a size between the demo's and the real ones.
        dataclasses.replace(EDGE, name="demo-v2-112", width=112, height=112, num_frames=8, smallest_ball=7.0),
        REAL,
        TABLE,
        dataclasses.replace(TABLE, name="table-blur-v1", shutter=1 / 50, exposures=5),
    )
}


def get_world(name: str) -> World:
    """Returns the world called ``name``.

    Raises:
      UserError: there is none; the message lists the known names.
    """
    if name not in WORLDS:
        raise UserError(f"unknown world '{name}'; known are {', '.join(sorted(WORLDS))}.{nearest(name, WORLDS)}")
    return WORLDS[name]
