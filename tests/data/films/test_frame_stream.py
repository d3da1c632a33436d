import numpy as np
import pytest

from hilight_jax.data.films.frame_stream import FrameStream
from hilight_jax.data.video import VideoError
from tests.data.clips import encode, grey_frames


def seconds_of(video, **options):
    stream = FrameStream(video, **options)
    return [round(frame.seconds, 3) for frame in stream], stream


def test_times_are_those_of_the_container_with_its_gaps():
    times = [0, 10, 20, 90, 100, 300]
    assert seconds_of(encode(grey_frames(6), times=times))[0] == [0, 0.1, 0.2, 0.9, 1.0, 3.0]


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_times_count_from_the_first_shown_frame(container):
    codec = {"codec": "libx264", "pixel_format": "yuv420p"} if container == "mpegts" else {}
    found, stream = seconds_of(encode(grey_frames(4), container, times=[700, 710, 720, 760], **codec))
    assert found == pytest.approx([0, 0.1, 0.2, 0.6], abs=0.002)
    assert stream.end == pytest.approx(0.6, abs=0.002)


def test_frames_beyond_the_rate_are_dropped():
    found, _ = seconds_of(encode(grey_frames(20, step=5)), rate=5)
    assert found == [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8]


def test_frames_are_small():
    (frame, *_) = FrameStream(encode(grey_frames(2, size=(64, 128))), longest_side=32)
    assert frame.pixels.shape == (16, 32, 3) and frame.pixels.dtype == np.uint8


def test_a_film_that_ends_early_is_read_as_far_as_it_goes(tmp_path):
    whole = encode(np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8), path=tmp_path / "whole.mp4")
    found, stream = seconds_of(whole[: len(whole) * 2 // 3])
    assert 10 <= len(found) <= 21 and found[:3] == [0, 0.1, 0.2]
    assert "its header says 3.0 seconds, but its last frame is at" in stream.fault


def test_a_film_without_a_clock_counts_25_frames_a_second():
    raw = encode(grey_frames(5), "h264", codec="libx264", pixel_format="yuv420p")
    found, stream = seconds_of(raw, rate=100)
    assert found == [0, 0.04, 0.08, 0.12, 0.16]
    assert stream.fault == "it has frames without a time; each counts as 1/25 s."


def test_a_broken_packet_is_skipped():
    clip = bytearray(encode(grey_frames(8), "matroska"))
    starts = [k for k in range(len(clip)) if clip[k : k + 3] == b"\xff\xd8\xff"]
    clip[starts[2] : starts[3] - 20] = bytes(starts[3] - 20 - starts[2])
    found, stream = seconds_of(bytes(clip))
    assert found == [0, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert stream.fault == "1 of its packets do not decode and were skipped."


def test_no_video_is_a_sentence():
    with pytest.raises(VideoError, match="is not a readable video"):
        list(FrameStream(b"no video at all"))
