import pathlib
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from hilight_jax.data.films.shots import find_shots
from hilight_jax.evals.strokes import score_strokes
from tests.data.clips import encode
from tests.data.table_films import WHITE, film, struck, table

REAL_SHOTS = pathlib.Path("/work/shared/real_shots")
# Seconds of the strike in each file, by its pictures.
REAL_STROKES = {
    "video_1_0233_0240": 0.2,
    "video_9_0056_0101": 0.9,
    "video_12_0205_0208": 0.27,
    "simulation_vs_reality_1_0008_0011": 0.93,
}
LONG = {"codec": "libx264", "pixel_format": "yuv420p"}


def strokes_of(video, **options):
    return [shot.stroke for shot in find_shots(video, **options) if shot.kind == "stroke"]


def test_a_stroke_is_the_start_of_a_balls_motion():
    frames, times = film(8, [3.0])
    (stroke,) = strokes_of(encode(frames, times=times, **LONG))
    assert stroke == pytest.approx(3.0, abs=0.3)


def test_pieces_cover_the_film_in_order():
    frames, times = film(30, [6.0, 14.0, 22.0])
    shots = list(find_shots(encode(frames, times=times, **LONG)))
    assert [shot.stroke for shot in shots if shot.kind == "stroke"] == pytest.approx([6.0, 14.0, 22.0], abs=0.3)
    assert shots[0].start == 0 and shots[-1].end == pytest.approx(29.9, abs=0.4)
    assert all(one.end == other.start for one, other in zip(shots[:-1], shots[1:], strict=True))
    assert all((shot.stroke is None) == (shot.kind == "interlude") for shot in shots)


def test_times_are_the_clocks_with_its_gap_and_offset():
    frames, times = film(8, [3.0])
    late = [700 + time + (400 if time >= 500 else 0) for time in times]  # Starts at 7 s; nothing for 4 s from 5 s on.
    shots = list(find_shots(encode(frames, "matroska", times=late, **LONG)))
    assert [shot.stroke for shot in shots if shot.kind == "stroke"] == pytest.approx([3.0], abs=0.3)
    assert shots[-1].end == pytest.approx(11.9, abs=0.1)


def test_an_arm_that_moves_to_and_fro_is_no_stroke():
    frames = [table(struck(0, 9), arm=round(40 + 25 * np.sin(k / 3))) for k in range(80)]
    assert strokes_of(encode(np.stack(frames), **LONG)) == []


def test_a_film_without_a_table_is_one_interlude():
    frames = np.full((30, 90, 160, 3), 40, np.uint8)
    (shot,) = find_shots(encode(frames, **LONG))
    assert shot.kind == "interlude" and shot.stroke is None and shot.start == 0 and shot.end == pytest.approx(2.9)


def test_a_stroke_shown_again_is_a_replay():
    frames, _ = film(9, [5.0])
    graphic = np.full((8, 90, 160, 3), (200, 40, 160), np.uint8)
    again = [table([*struck(k / 10, 1.0), (25, 70, WHITE)][:3]) for k in range(30)]
    after = [table(struck(20.0, 5.0)) for _ in range(60)]
    shots = list(find_shots(encode(np.concatenate([frames, graphic, again, graphic, after]), **LONG)))
    played = [(shot.kind, shot.stroke) for shot in shots if shot.kind != "interlude"]
    assert [kind for kind, _ in played] == ["stroke", "replay"]
    assert [time for _, time in played] == pytest.approx([5.0, 10.8], abs=0.3)


def test_a_film_that_ends_early_gives_what_was_seen_and_a_warning(tmp_path):
    frames, times = film(24, [4.0, 20.0])
    whole = encode(frames, times=times, path=tmp_path / "whole.mp4")
    faults = []
    assert strokes_of(whole[: len(whole) // 2], warn=faults.append) == pytest.approx([4.0], abs=0.3)
    assert len(faults) == 1 and "its header says" in faults[0]


def test_progress_is_reported_with_the_length_of_the_film():
    frames, times = film(8, [3.0])
    calls = []
    strokes_of(encode(frames, times=times, **LONG), report=lambda done, total: calls.append((done, total)))
    assert len(calls) >= 7 and calls[-1] == (pytest.approx(7.9), pytest.approx(8.0))


def test_memory_does_not_grow_with_the_film():
    peaks = []
    for length in (40, 160):
        frames, times = film(length, [float(s) for s in range(6, length - 6, 8)])
        video = encode(frames, times=times, **LONG)
        del frames
        tracemalloc.start()
        found = sum(1 for _ in find_shots(video))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found >= length // 8 - 2
    assert peaks[1] < 1.2 * peaks[0] + 1e5


@pytest.mark.skipif(not REAL_SHOTS.is_dir(), reason="the real shots are not on this machine")
def test_the_strokes_of_real_shots_joined_by_stills_are_found(tmp_path):
    true = []
    with av.open(str(tmp_path / "joined.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        number = 0
        for name, strike in REAL_STROKES.items():
            with av.open(str(REAL_SHOTS / f"{name}.mp4")) as clip:
                pictures = [frame.reformat(640, 360, "yuv420p") for frame in clip.decode(video=0)]
            stills = 60
            true.append((number + stills) / 30 + strike)
            for picture in [pictures[0]] * stills + pictures + [pictures[-1]] * stills:
                picture.pts, picture.time_base = number, Fraction(1, 30)
                container.mux(stream.encode(picture))
                number += 1
        container.mux(stream.encode(None))
    score = score_strokes(strokes_of(tmp_path / "joined.mp4"), true)
    assert score.recall >= 0.9 and score.precision >= 0.9
