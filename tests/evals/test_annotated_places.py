"""Pointing on annotated frames, by a finder whose patches are the colours of the picture."""

import json

import numpy as np
import pytest
from PIL import Image

from hilight_jax.billiards.encoding import encode_video
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.data.points import open_places
from hilight_jax.evals.annotated_places import MOST, NEIGHBOURS, _runs, evaluate_places, places_table
from hilight_jax.generation.zoom import parse_zoom
from hilight_jax.stages import encoder_evaluator
from hilight_jax.stages.encoder_evaluator import EncoderEvaluator
from hilight_jax.stages.stage import EvaluationOptions
from tests.generation.colours import ColourFinder

SIZE = (96, 160)


def picture(x, y):
    """A red ball of radius 6 at x and y on grey."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    frame = np.full((*SIZE, 3), 128, np.uint8)
    frame[np.hypot(columns - x, rows - y) <= 6] = (255, 0, 0)
    return frame


@pytest.fixture
def folder(tmp_path):
    """A video of a ball that goes to the right, 4 px a frame, and a picture."""
    frames = np.stack([picture(20 + 4 * k, 40) for k in range(20)])
    (tmp_path / "shot.mp4").write_bytes(encode_video(frames, fps=10))
    Image.fromarray(picture(100, 60)).save(tmp_path / "still.png")
    return tmp_path


def evaluate(folder, content, zoom=4.0):
    (folder / "points.json").write_text(json.dumps(content))
    return evaluate_places(ColourFinder(num_frames=2), open_places(str(folder / "points.json")), zoom)


def test_a_ball_is_found_where_it_was_annotated(folder):
    places = [{"word": "the red ball", "frame": k, "x": 20 + 4 * k, "y": 40} for k in (0, 9, 19)]
    still = [{"word": "the red ball", "frame": 0, "x": 100, "y": 60, "radius": 6}]
    found = evaluate(folder, {"shot.mp4": places, "still.png": still})
    figures = found["words"]["the red ball"]
    assert (figures["places"], figures["pointing"], figures["seen"], found["videos"]) == (4, 1.0, 1.0, 2)
    assert figures["median_error"] < 4 and figures["interval"] is None and found["left_out"] == []
    # Points: within 0.75 of a patch of 6 px; the box is 12 x 12 px.
    assert figures["area_chance"] == pytest.approx((3 * 9**2 + 12**2) / 4 / (96 * 160), rel=0.01)


def test_a_wrong_place_and_a_wrong_word_are_no_hits(folder):
    places = [
        {"word": "the red ball", "frame": 5, "x": 100, "y": 80},
        {"word": "the red ball", "frame": 5, "x": 40, "y": 40},
        {"word": "the blue ball", "frame": 5, "x": 40, "y": 40},
    ]
    words = evaluate(folder, {"shot.mp4": places})["words"]
    assert words["the red ball"]["pointing"] == 0.5
    assert words["the blue ball"]["seen"] == 0.0


def test_frames_that_a_video_does_not_have_are_left_out_and_named(folder):
    places = [{"word": "red", "frame": k, "x": 20 + 4 * k, "y": 40} for k in (3, 20)]
    found = evaluate(folder, {"shot.mp4": places})
    assert found["words"]["the red"]["places"] == 1
    assert found["left_out"] == ["shot.mp4, frame 20: it has 20"]
    text = places_table({"name": "points", "source": "points:points.json", **found})
    assert "left out: 1 places (shot.mp4, frame 20: it has 20)" in text
    row = next(line for line in text.splitlines() if line.startswith("the red"))
    assert row.split()[2:4] == ["1.000", "-"]


def test_places_outside_the_picture_are_left_out_and_nothing_left_is_an_error(folder):
    places = [{"word": "red", "frame": 3, "x": x, "y": 40} for x in (32, 5000)]
    assert evaluate(folder, {"shot.mp4": places})["left_out"] == ["shot.mp4, 5000,40: it has 160 x 96 pixels"]
    with pytest.raises(DataError, match=r"no annotated place can be looked at: shot.mp4, 5000,40: it has 160 x 96"):
        evaluate(folder, {"shot.mp4": places[1:]})


def test_the_interval_over_videos_needs_five(folder):
    content = {}
    for number in range(5):
        Image.fromarray(picture(100, 60)).save(folder / f"{number}.png")
        content[f"{number}.png"] = [{"word": "red", "x": 100 if number else 10, "y": 60}]
    figures = evaluate(folder, content)["words"]["the red"]
    assert figures["pointing"] == 0.8 and figures["interval"][0] < 0.6 and figures["interval"][1] == 1.0


def test_frames_are_read_with_their_neighbours_and_far_ones_apart():
    near = [list(run) for run in _runs([10, 15, 40], 200)]
    assert near == [list(range(4, 22)), list(range(34, 47))]
    assert [list(run) for run in _runs([0, 199], 200)] == [list(range(7)), list(range(193, 200))]
    many = list(_runs(list(range(0, 100, 10)), 200))
    assert all(len(run) <= MOST for run in many)
    for frame in range(0, 100, 10):
        assert any({*range(max(0, frame - NEIGHBOURS), frame + NEIGHBOURS + 1)} <= {*run} for run in many)


def test_the_whole_frame_serves_as_well_where_the_ball_is_large(folder):
    (folder / "large.png").write_bytes(b"")
    frame = np.full((*SIZE, 3), 128, np.uint8)
    frame[24:48, 40:80] = (255, 0, 0)
    Image.fromarray(frame).save(folder / "large.png")
    places = {"large.png": [{"word": "the red ball", "x": 60, "y": 36}]}
    assert evaluate(folder, places, "off")["words"]["the red ball"]["pointing"] == 1.0


@pytest.mark.parametrize("text", ["0.5", "often", "1e9", "nan"])
def test_other_zooms_are_refused(text):
    with pytest.raises(UserError, match="--zoom is .*; give off, auto, a number from 1 to 64, or several"):
        parse_zoom(text, "--zoom")
    assert parse_zoom("auto", "--zoom") == "auto" and parse_zoom("2.5", "--zoom") == 2.5
    assert parse_zoom("1,2,4", "zoom") == (1.0, 2.0, 4.0) == parse_zoom([1, 2, 4], "zoom")
    assert parse_zoom(2, "zoom") == 2.0


def test_the_command_reads_annotated_places(folder, monkeypatch):
    monkeypatch.setattr(encoder_evaluator, "EncoderFinder", lambda encoder, workdir: ColourFinder(num_frames=2))
    evaluator = EncoderEvaluator.__new__(EncoderEvaluator)
    evaluator._encoder, evaluator._workdir = None, folder
    (folder / "points.json").write_text(json.dumps({"shot": [{"word": "the red ball", "frame": 5, "x": 40, "y": 40}]}))
    options = EvaluationOptions(zoom=4.0)
    result = evaluator.evaluate(f"points:{folder}/points.json", options)
    assert result["zoom"] == 4.0 and result["words"]["the red ball"]["pointing"] == 1.0
    with pytest.raises(UserError, match="--shortlist would have no effect on annotated frames"):
        evaluator.evaluate(f"points:{folder}/points.json", EvaluationOptions(shortlist=5))
    with pytest.raises(UserError, match="--zoom is about annotated frames"):
        evaluator.evaluate("tfds:data/demo-v2/1.0.0/validation", options)
