"""Captions against their swaps, on vectors that can be compared by hand and on the world of coloured discs."""

import numpy as np
import pytest

from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.evals.encoder_evaluation import evaluate_encoder, headline
from hilight_jax.evals.result_tables import encoder_tables
from hilight_jax.evals.swapped_captions import Swapped, compare_with_swaps, encode_swaps
from tests.evals.coloured_discs import COLOURS, SETS, ColouredDiscs, ColourEncoder

RIGHT, UP = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def swapped(*of):
    """Swaps of (record, caption, vector)."""
    clips, captions, embeds = zip(*of, strict=True)
    return Swapped(np.stack(embeds), np.array(clips), np.array(captions))


def test_a_caption_is_right_when_it_is_nearer_to_its_clip_than_its_swap():
    captions = {(3, 0): RIGHT, (3, 1): UP, (5, 0): UP, (5, 2): UP}
    videos = {3: RIGHT, 5: UP}
    found = compare_with_swaps(swapped((3, 0, UP), (3, 1, RIGHT), (5, 0, RIGHT), (5, 2, UP)), captions, videos)
    assert (found["pairs"], found["clips"]) == (4, 2)
    assert found["right"] == 0.5, "the first and third; the last is a tie"
    assert found["other_clip"] == 0.25, "shown the other clip, the second alone"
    assert found["interval"] == [0.5, 0.5], "each clip is right once in two"


def test_only_pairs_of_usable_clips_and_captions_count():
    captions, videos = {(3, 0): RIGHT, (4, 0): RIGHT}, {3: RIGHT}
    found = compare_with_swaps(swapped((3, 0, UP), (3, 1, UP), (4, 0, UP)), captions, videos)
    assert (found["pairs"], found["right"]) == (1, 1.0)
    assert compare_with_swaps(swapped((4, 0, UP)), captions, videos) is None


class SwappedDiscs(ColouredDiscs):
    """Coloured discs; a clip of a single disc has a false caption, which names the next colour."""

    def __getitem__(self, index):
        record = super().__getitem__(index)
        swaps = []
        if len(SETS[index]) == 1:
            other = COLOURS[(SETS[index][0] + 1) % 3]
            swaps = [{"caption": 0, "text": f"look: the {other} ball", "spans": []}]
        return record._replace(labels={**record.labels, "swaps": swaps})


def test_the_right_encoder_is_above_every_swap():
    result = evaluate_encoder(ColourEncoder(), SwappedDiscs())
    assert (result["swaps"]["pairs"], result["swaps"]["clips"], result["swaps"]["right"]) == (3, 3, 1.0)
    assert headline(result, "validation")["validation/swaps_right"] == 1.0
    line = next(x for x in encoder_tables({**NAMES, **result}).splitlines() if x.startswith("caption above its swap"))
    assert line.split()[4:] == ["1.000", "1.00-1.00", "0.500", f"{result['swaps']['other_clip']:.3f}", "3"]
    assert evaluate_encoder(ColourEncoder(batch_size=5), SwappedDiscs()) == result
    assert evaluate_encoder(ColourEncoder(), SwappedDiscs(broken=[0]))["swaps"]["pairs"] == 2


NAMES = {"name": "discs", "source": "discs", "step": 1, "which": "latest", "map_levels": ["embedding"]}


def test_data_without_swaps_has_no_figure():
    result = evaluate_encoder(ColourEncoder(), ColouredDiscs())
    assert result["swaps"] is None
    assert not [name for name in headline(result, "validation") if "swaps" in name]
    assert "swap" not in encoder_tables({**NAMES, **result})


@pytest.mark.parametrize(("length", "count"), [(24, 3), (5, 0)])
def test_swaps_that_are_cut_and_quarantined_clips_are_left_out(length, count):
    encoder, source = ColourEncoder(), SwappedDiscs()
    found = encode_swaps(encoder.encode_text, source, 7, 4, ClipTokenizer(length), ())
    assert (0 if found is None else len(found.embeds)) == count
    one = encode_swaps(encoder.encode_text, source, 7, 4, ClipTokenizer(24), {"discs/0", "discs/2"})
    assert one.clip.tolist() == [1] and one.caption.tolist() == [0]
