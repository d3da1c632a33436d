"""One held-out clip under every local loss: where the word for a ball looks, as one animated grid.

The maps are kept as numbers (``docs/data/word-maps.npz``), so that the picture can be drawn without the runs.
"""

import io
import textwrap
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from hilight_jax.core.atomic_files import write_bytes
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.data.sources import open_source
from hilight_jax.evals.example_clips import held_out
from hilight_jax.pages import heatmaps
from hilight_jax.stages.trained_encoder import load_encoder

COLUMNS, SIDE, GAP = 5, 136, 4  # Tiles in a row, their side and the space between them in px.
TITLE, TITLE_LETTERS, TITLE_LINES = 48, 22, 3  # Height of a title in px, letters of a line, and lines.


class WordMaps(NamedTuple):
    """A clip, a word, the true place of what it names, and its map by every encoder; 255 is a map's best patch."""

    word: str
    frames: UInt8[np.ndarray, "F Y X 3"]
    notes: list[str]  # The time of each frame.
    centres: Float[np.ndarray, "F 2"]  # x and y in px of the frames.
    radii: Float[np.ndarray, " F"]
    seen: Bool[np.ndarray, " F"]
    rows: list[str]
    maps: UInt8[np.ndarray, "rows F h w"]


def collect_maps(workdirs: Mapping[str, Path], source: str) -> WordMaps:
    """Maps of the first thing that the first usable clip of a source names, by every encoder.

    Args:
      workdirs: Working directories of encoders of one frame size, by name of the row; at least one.
      source: Specification of the data.

    Raises:
      DataError: It does not say where things are.
    """
    opened = open_source(source)
    examples = [
        example for workdir in workdirs.values() for example in held_out(load_encoder(workdir), opened, 1, num_words=1)
    ]
    if len({example.title(example.words[0]) for example in examples}) > 1:
        raise DataError(f"the encoders read the captions of '{source}' otherwise; their settings differ.")
    if len(examples) < len(workdirs):
        raise DataError(f"'{source}' has no clip whose captions name a thing that is seen; name another.")
    maps = [_bytes(example.words[0].maps) for example in examples]
    shown, (word,) = examples[0], examples[0].words
    if word.place is None:
        raise DataError(f"'{source}' does not say where things are; name one with the places of things in its labels.")
    place = word.place
    centres = np.clip(place.centres, 0, shown.frames.shape[2:0:-1])
    about = (shown.title(word), shown.frames, list(shown.notes), centres, place.radii, place.seen)
    return WordMaps(*about, list(workdirs), np.stack(maps))


def _bytes(maps: Float[np.ndarray, "F h w"]) -> UInt8[np.ndarray, "F h w"]:
    """A map from its worst patch, 0, to its best one, 255."""
    low, high = maps.min(), maps.max()
    return np.rint(255 * (maps - low) / max(high - low, 1e-12)).astype(np.uint8)


def save_maps(maps: WordMaps, path: Path) -> None:
    """Writes them as one compressed file of numpy, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **maps._asdict())
    write_bytes(path, content.getvalue())


def read_maps(path: Path) -> WordMaps:
    """Reads what ``save_maps`` wrote.

    Raises:
      UserError: There is no such file.
      DataError: It holds something else.
    """
    if not path.is_file():
        raise UserError(f"'{path}' is missing; make it with: python -m hilight_jax.ablate maps --to {path}")
    try:
        with np.load(path) as file:
            fields = {name: file[name] for name in WordMaps._fields}
        texts = {"word": str(fields["word"]), "notes": fields["notes"].tolist(), "rows": fields["rows"].tolist()}
        if fields["maps"].shape[:2] != (len(texts["rows"]), len(fields["frames"])):
            raise ValueError(f"maps of the shape {fields['maps'].shape}")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"'{path}' holds no word maps ({error}); restore it, or make it anew.") from error
    return WordMaps(**(fields | texts))


def draw_grid(maps: WordMaps) -> bytes:
    """Draws a GIF: a tile for each row, the true place ringed while it is in view."""
    enlarged = [Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for frame in maps.frames]
    frames = np.stack([np.asarray(frame) for frame in enlarged])
    scale = SIDE / np.array(maps.frames.shape[2:0:-1])
    tiles = []
    for name, levels in zip(maps.rows, maps.maps, strict=True):
        painted = heatmaps.paint(frames, heatmaps.scaled(levels.astype(np.float32)))
        ringed = heatmaps.ring(painted, maps.centres * scale, maps.radii * scale.mean(), maps.seen)
        tiles.append(_titled(ringed, name))
    count, height, width, _ = tiles[0].shape
    lines = -(-len(tiles) // COLUMNS)
    shape = (count, lines * (height + GAP) - GAP, min(len(tiles), COLUMNS) * (width + GAP) - GAP, 3)
    grid = np.full(shape, 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = (place // COLUMNS) * (height + GAP), (place % COLUMNS) * (width + GAP)
        grid[:, top : top + height, left : left + width] = tile
    content = io.BytesIO()
    heatmaps.save_gif(content, grid)
    return content.getvalue()


def _titled(frames: UInt8[np.ndarray, "F y x 3"], title: str) -> UInt8[np.ndarray, "F y_titled x 3"]:
    """Puts a title of up to three lines above every frame."""
    strip = Image.new("RGB", (frames.shape[2], TITLE), "white")
    lines = textwrap.wrap(title, TITLE_LETTERS, max_lines=TITLE_LINES, placeholder="…")
    ImageDraw.Draw(strip).multiline_text((2, 2), "\n".join(lines), "black", ImageFont.load_default(12), spacing=2)
    return np.concatenate([np.repeat(np.asarray(strip)[None], len(frames), axis=0), frames], axis=1)
