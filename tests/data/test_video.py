import io
import re

import av
import numpy as np
import pytest

from hilight_jax.data import video
from hilight_jax.data.video import VideoError
from tests.data.clips import encode, grey_frames


def frames_at(clip, indices):
    return video.decode(clip, lambda _: indices)


def levels(frames):
    return frames[:, 0, 0, 0].astype(int).tolist()


def test_frames_come_in_the_order_asked_for_with_repeats():
    clip = encode(grey_frames(12))
    frames = frames_at(clip, [11, 0, 3, 3])
    assert frames.shape == (4, 16, 16, 3) and frames.dtype == np.uint8
    assert levels(frames) == pytest.approx([110, 0, 30, 30], abs=1)


def test_choose_is_given_the_number_of_frames():
    asked = []
    video.decode(encode(grey_frames(7)), lambda n: asked.append(n) or [0])
    assert asked == [7]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_file_with_few_key_frames_gives_the_same_frames_by_seeking(tmp_path, codec):
    rng = np.random.default_rng(0)
    frames = np.kron(rng.integers(0, 255, (40, 2, 2, 3)), np.ones((1, 16, 16, 1))).astype(np.uint8)
    clip = encode(frames, codec=codec, pixel_format="yuv420p")
    (tmp_path / "clip.mp4").write_bytes(clip)
    chosen = [39, 0, 21, 22, 7]
    by_seeking = frames_at(str(tmp_path / "clip.mp4"), chosen)
    np.testing.assert_array_equal(by_seeking, frames_at(clip, chosen))
    np.testing.assert_array_equal(by_seeking, video.to_rgb(video._decode_in_order(clip, lambda _: chosen)))


def test_variable_frame_rate_counts_frames_not_time(tmp_path):
    clip = encode(grey_frames(6), times=[0, 1, 2, 90, 95, 300])
    (tmp_path / "clip.mp4").write_bytes(clip)
    for one in (clip, tmp_path / "clip.mp4"):
        assert levels(video.decode(one, range)) == pytest.approx([0, 10, 20, 30, 40, 50], abs=1)


def test_a_container_that_does_not_tell_its_length_is_counted():
    assert levels(video.decode(encode(grey_frames(5), "matroska"), range)) == pytest.approx([0, 10, 20, 30, 40], abs=1)


def test_one_frame_is_a_video():
    assert levels(frames_at(encode(grey_frames(1)), [0, 0])) == [0, 0]


def test_a_video_filmed_upright_is_turned(tmp_path):
    frames = np.zeros((2, 16, 32, 3), np.uint8)
    frames[:, :, 24:] = 255
    clip = bytearray(encode(frames))
    matrix = clip.index(b"tkhd") + 4 + 4 + 20 + 16
    quarter_turn = np.array([0, 1, 0, -1, 0, 0], ">i4") * 65536
    clip[matrix : matrix + 36] = b"".join(
        [quarter_turn[:2].tobytes(), bytes(4), quarter_turn[3:5].tobytes(), bytes(4), bytes(8), (1 << 30).to_bytes(4)]
    )
    upright = frames_at(bytes(clip), [0])
    assert upright.shape == (1, 32, 16, 3)
    assert upright[0, 28:].min() > 250 and upright[0, :20].max() < 5  # Clockwise: what was right is now below.


def test_a_frame_outside_the_video_is_refused():
    with pytest.raises(IndexError, match="frame 3 was asked for, but the video has frames 0 to 2"):
        frames_at(encode(grey_frames(3)), [3])


def audio_only():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (lambda: b"", r"empty \(0 bytes\)"),
        (lambda: b"no video at all" * 100, "is not a readable video"),
        (lambda: encode(grey_frames(12))[:1000], "is not a readable video"),
        (audio_only, r"has no video stream \(it holds audio\)"),
        (lambda: encode(grey_frames(0)), "no frame that decodes|no video stream|not a readable video"),
    ],
    ids=["empty", "text", "truncated", "audio_only", "no_frames"],
)
def test_a_broken_video_ends_in_a_sentence(tmp_path, clip, reason):
    clip = clip()
    (tmp_path / "clip.mp4").write_bytes(clip)
    for one in (clip, tmp_path / "clip.mp4"):
        with pytest.raises(VideoError, match=reason):
            video.decode(one, lambda n: [0])
        with pytest.raises(VideoError, match=reason):
            video.inspect(one)


def test_a_file_whose_end_is_missing_is_not_used_in_part(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3)).astype(np.uint8)
    clip = encode(frames, path=tmp_path / "whole.mp4")
    clip = clip[: len(clip) * 2 // 3]
    (tmp_path / "clip.mp4").write_bytes(clip)
    for one in (clip, tmp_path / "clip.mp4"):
        with pytest.raises(VideoError, match="is cut short: its header lists 12 frames, 6 are there"):
            video.decode(one, lambda n: [0])


def test_a_missing_file_ends_in_a_sentence(tmp_path):
    with pytest.raises(VideoError, match="the file does not exist"):
        frames_at(tmp_path / "none.mp4", [0])


def test_inspecting_tells_frames_size_and_duration():
    info = video.inspect(encode(grey_frames(12, size=(16, 32))))
    assert (info.num_frames, info.num_undecodable, info.height, info.width, info.codec) == (12, 0, 16, 32, "mjpeg")
    assert info.seconds == pytest.approx(1.2, abs=0.11)
    assert info.loss == ""


@pytest.mark.parametrize(
    ("container", "codec", "pixel_format", "reason"),
    [
        (
            "matroska",
            "mjpeg",
            "yuvj444p",
            r"its header says 3.0 seconds, but its last frame is at 1.\d: the end is missing",
        ),
        ("webm", "libvpx", "yuv420p", r"its header says 3.0 seconds, but its last frame is at 1.\d"),
        ("avi", "mjpeg", "yuvj420p", r"its header says 3.0 seconds, but its last frame is at 1.\d"),
        ("mpegts", "libx264", "yuv420p", r"its \d+ bytes end within a packet of the transport stream"),
    ],
)
def test_inspecting_tells_that_the_end_of_a_file_is_missing(container, codec, pixel_format, reason):
    frames = np.random.default_rng(0).integers(0, 255, (30, 32, 32, 3)).astype(np.uint8)
    clip = encode(frames, container, codec, pixel_format)
    assert video.inspect(clip).loss == ""
    cut = video.inspect(clip[: len(clip) // 376 * 188 + 94])
    assert 0 < cut.num_frames < 30
    assert re.match(reason, cut.loss)


def test_frames_come_with_their_seconds(tmp_path):
    times = [50, 60, 90, 95, 200]  # Hundredths; the first frame is second 0.
    content = encode(grey_frames(5), container="matroska", times=times)
    frames, seconds = video.decode_timed(content, lambda total: [4, 0, 3, 3])
    assert levels(frames) == pytest.approx([40, 0, 30, 30], abs=1)
    np.testing.assert_allclose(seconds, [1.5, 0, 0.45, 0.45], atol=2e-3)
    (tmp_path / "a.mkv").write_bytes(content)
    np.testing.assert_array_equal(video.decode_timed(tmp_path / "a.mkv", lambda total: [4, 0, 3, 3])[1], seconds)


def test_frames_without_times_count_as_a_25th_of_a_second():
    content = encode(grey_frames(3), container="mjpeg", codec="mjpeg")
    frames, seconds = video.decode_timed(content, lambda total: range(total))
    assert len(frames) == len(seconds) == 3
    np.testing.assert_allclose(seconds, [0, 0.04, 0.08])
