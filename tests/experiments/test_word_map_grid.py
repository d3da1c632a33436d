"""Maps of a word by several encoders: kept as numbers, read again, drawn as a grid."""

import io

import numpy as np
import pytest
from PIL import Image

from hilight_jax.core.errors import DataError
from hilight_jax.experiments import word_map_grid
from hilight_jax.experiments.word_map_grid import COLUMNS, GAP, SIDE, TITLE, WordMaps, draw_grid, read_maps, save_maps
from tests.evals.coloured_discs import SETS, ColouredDiscs, ColourEncoder


@pytest.fixture
def kept(monkeypatch):
    """Maps by the right encoder, twice."""
    monkeypatch.setattr(word_map_grid, "open_source", lambda source: ColouredDiscs())
    monkeypatch.setattr(word_map_grid, "load_encoder", lambda workdir: ColourEncoder())
    return word_map_grid.collect_maps({"right": None, "as right": None}, "discs")


def test_the_map_of_the_right_encoder_is_best_where_the_thing_is(kept):
    assert kept.word == "the red ball" and SETS[0] == (0,) and kept.rows == ["right", "as right"]
    assert kept.maps.dtype == np.uint8 and (kept.maps.min(), kept.maps.max()) == (0, 255)
    np.testing.assert_array_equal(kept.maps[0], kept.maps[1])
    for levels, (x, y) in zip(kept.maps[0], kept.centres, strict=True):
        assert levels[int(y // 8), int(x // 8)] == 255


def test_they_are_read_as_they_were_kept(kept, tmp_path):
    save_maps(kept, tmp_path / "maps.npz")
    again = read_maps(tmp_path / "maps.npz")
    for old, new in zip(kept, again, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_grid_has_a_tile_for_each_row(kept):
    many = kept._replace(rows=list("abcdef"), maps=np.repeat(kept.maps[:1], 6, axis=0))
    picture = Image.open(io.BytesIO(draw_grid(many)))
    lines = -(-6 // COLUMNS)
    assert picture.size == (COLUMNS * (SIDE + GAP) - GAP, lines * (SIDE + TITLE + GAP) - GAP)
    assert picture.n_frames == len(kept.frames)


def test_data_without_places_is_refused(monkeypatch):
    class Unplaced(ColouredDiscs):
        def __getitem__(self, index):
            record = super().__getitem__(index)
            return record._replace(labels={**record.labels, "objects": {}})

    monkeypatch.setattr(word_map_grid, "open_source", lambda source: Unplaced())
    monkeypatch.setattr(word_map_grid, "load_encoder", lambda workdir: ColourEncoder())
    with pytest.raises(DataError, match="'discs' has no clip whose captions name a thing that is seen"):
        word_map_grid.collect_maps({"right": None}, "discs")


@pytest.mark.parametrize("damage", ["a list", "cut", "fewer maps"])
def test_damaged_files_are_named(kept, tmp_path, damage):
    path = tmp_path / "maps.npz"
    if damage == "fewer maps":
        save_maps(WordMaps(**{**kept._asdict(), "maps": kept.maps[:1]}), path)
    else:
        save_maps(kept, path)
        path.write_bytes(path.read_bytes()[:500])
    if damage == "a list":
        with path.open("wb") as file:
            np.save(file, np.arange(3))
    with pytest.raises(DataError, match=r"maps.npz' holds no word maps \(.*\); restore it, or make it anew"):
        read_maps(path)
