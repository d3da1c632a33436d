import io

import av
import numpy as np
import pytest

from hilight_jax.billiards import encoding
from hilight_jax.billiards.encoding import encode_video
from hilight_jax.core.errors import DataError


def decoded(video: bytes) -> np.ndarray:
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def small_balls() -> np.ndarray:
    """Saturated discs of 4 pixels' radius on green cloth, moving from frame to frame."""
    frames = np.full((5, 64, 48, 3), (22, 122, 62), np.uint8)
    rows, columns = np.mgrid[0:64, 0:48]
    for frame in range(5):
        for k, colour in enumerate([(212, 16, 30), (22, 62, 186), (250, 200, 28)]):
            frames[frame][np.hypot(rows - 12 - 18 * k, columns - 10 - 4 * frame) < 4] = colour
    return frames


def test_frames_come_back_in_number_size_and_colour():
    frames = small_balls()
    back = decoded(encode_video(frames, fps=2.0))
    assert back.shape == frames.shape
    difference = np.abs(back.astype(int) - frames)
    assert difference.mean() < 2 and difference.max() < 40


def test_a_watchable_video_keeps_its_frame_rate():
    with av.open(io.BytesIO(encode_video(small_balls(), fps=30.0, watchable=True))) as container:
        assert container.streams.video[0].average_rate == 30
        assert container.streams.video[0].codec_context.name == "h264"


def test_other_arrays_than_rgb_frames_are_refused():
    with pytest.raises(DataError, match=r"uint8 frames \[F, Y, X, 3\], not float64 \[1, 8, 8, 3\]"):
        encode_video(np.zeros((1, 8, 8, 3)), 1.0)


def test_a_coarser_quantizer_makes_a_smaller_and_worse_video():
    frames = small_balls()
    files = [encode_video(frames, 4.0, quantizer=quantizer) for quantizer in (2, 10)]
    errors = [np.abs(decoded(file).astype(int) - frames).mean() for file in files]
    assert len(files[1]) < len(files[0]) and errors[0] < errors[1]
    assert encode_video(frames, 4.0) == files[0]
    with pytest.raises(DataError, match="quantizer of 1 is out of range; give 2"):
        encode_video(frames, 4.0, quantizer=1)


def test_a_missing_encoder_is_one_sentence(monkeypatch):
    monkeypatch.setattr(encoding, "_STORED", ("no_such_encoder", "yuvj444p"))
    with pytest.raises(DataError, match="no encoder 'no_such_encoder'"):
        encode_video(small_balls(), 1.0)
