"""Names of slices, their chips and their devices."""

import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.planning.topologies import CHIPS, devices, parse, size, whole_sides


@pytest.mark.parametrize(
    ("text", "generation", "grid", "chips"),
    [
        ("v5e:16x16", "v5e", "16x16", 256),
        ("v5e-256", "v5e", "16x16", 256),
        ("v5litepod-16", "v5e", "4x4", 16),
        ("v4:4x4x4", "v4", "4x4x4", 64),
        ("v4-128", "v4", "4x4x4", 64),
        ("v5p-128", "v5p", "4x4x4", 64),
        ("v5p:2x2x1", "v5p", "2x2x1", 4),
        ("v6e-256", "v6e", "16x16", 256),
    ],
)
def test_a_grid_and_clouds_name_mean_the_same_slice(text, generation, grid, chips):
    found = parse(text)
    assert (found.generation, found.grid, found.chips) == (generation, grid, chips)


def test_slices_multiply_the_chips():
    assert parse("v5e:16x16", 2).chips == 512


@pytest.mark.parametrize("text", ["v5e:16x17", "v5e-100", "v4-64x", "v5p:16x16"])
def test_an_unknown_slice_is_answered_with_those_that_exist(text):
    with pytest.raises(ConfigError, match="does not exist; .* comes as .*(16x16|4x4x4)"):
        parse(text)


@pytest.mark.parametrize("text", ["v7:4x4", "", "16x16", "h100-8"])
def test_an_unknown_generation_is_answered_with_those_that_exist(text):
    with pytest.raises(ConfigError, match="names no known generation; name one of v4, v5e, v5p, v6e"):
        parse(text)


def test_there_is_at_least_one_slice():
    with pytest.raises(ConfigError, match="--slices is 0"):
        parse("v5e:2x2", 0)


def test_an_axis_can_span_a_line_a_plane_and_the_whole():
    assert whole_sides("4x8x16") == [1, 16, 128, 512]
    assert whole_sides("2x2x1") == [1, 2, 4] and whole_sides("1x1") == [1]


def test_no_two_slices_of_a_generation_have_the_same_chips():
    for chip in CHIPS.values():
        assert len({size(grid) for grid in chip.grids}) == len(chip.grids)


def test_a_missing_compiler_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'hilight_jax\[tpu\]'"):
        devices(parse("v5e:2x2"))
