"""A clip becomes the frames that the model was trained on: spread evenly, squeezed to a square, CLIP's colours."""

import io
import itertools
import os

import numpy as np

try:
    import av
except ImportError:
    av = None

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_RUN = 16


def read_frames(video, num_frames: int) -> np.ndarray:
    """Takes frames that are spread evenly over a clip.

    Args:
      video: Path of a video file, its bytes, uint8 frames [n, Y, X, 3], or a list of images.
      num_frames: F; shorter clips repeat some.

    Returns:
      uint8 [F, Y, X, 3], red first.

    Raises:
      ValueError: It is nothing of these, or no video.
      ImportError: It is a file, and PyAV is not installed.
    """
    if isinstance(video, (str, bytes, os.PathLike)):
        return _decode(video, num_frames)
    if isinstance(video, (list, tuple)):
        video = np.stack([np.asarray(x.convert("RGB") if hasattr(x, "convert") else x) for x in video])
    frames = np.asarray(video)
    if frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames) or frames.dtype != np.uint8:
        raise ValueError(
            f"a clip is an array {frames.dtype} {frames.shape}, but must be uint8 [frames, rows, columns, 3]; convert "
            f"it, or give the path of a video file."
        )
    return frames[uniform_indices(len(frames), num_frames)]


def uniform_indices(num_total: int, num_frames: int) -> np.ndarray:
    """Numbers of `num_frames` frames from the first to the last of `num_total`, rounded down."""
    return np.linspace(0, num_total - 1, num_frames).astype(np.int64)


def choose_key_frames(frames: np.ndarray, rule: str, count: int, indices=()) -> np.ndarray:
    """Numbers [count] of the frames that the frame tower sees.

    `uniform` spreads them evenly, `explicit` takes `indices`, `content` lets about as much change lie between any two.
    """
    if rule == "explicit":
        if indices[-1] >= len(frames):
            raise ValueError(f"key frame {indices[-1]} was asked for, but the clip has frames 0 to {len(frames) - 1}.")
        return np.array(indices, np.int64)
    if rule == "uniform":
        return uniform_indices(len(frames), count)
    if rule != "content":
        raise ValueError(f"the rule of key frames is '{rule}', but must be uniform, explicit or content.")
    if count > len(frames):
        raise ValueError(f"{count} key frames were asked for, but the clip has {len(frames)} frames.")
    # The sum of all differences from frame to frame, and one more: a clip that stands still is taken evenly.
    steps = [np.abs(b.astype(np.int16) - a).sum(dtype=np.int64) + 1 for a, b in itertools.pairwise(frames)]
    along = np.concatenate([[0], np.cumsum(np.array(steps, np.int64))])
    parts, offset = (count - 1, 0) if count > 1 else (2, 1)
    chosen = []
    for k in range(count):
        first, last = (chosen[-1] + 1 if chosen else 0), len(along) - (count - k)
        distance = np.abs(along[first : last + 1] * parts - (k + offset) * along[-1])
        chosen.append(first + int(np.argmin(distance)))
    return np.array(chosen, np.int64)


def squeeze(frames: np.ndarray, size: int) -> np.ndarray:
    """Resizes uint8 frames [F, Y, X, 3] to a square, without keeping their shape; frames of that size stay.

    The filter is PIL's bicubic one: Keys' kernel with a = -0.5, widened when shrinking.
    """
    if frames.shape[1:3] == (size, size):
        return frames
    squeezed = []
    for frame in frames:
        rows = _resize_rows(frame[None].astype(np.float32), size)
        frame = _resize_rows(rows.swapaxes(1, 2), size).swapaxes(1, 2)
        squeezed.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
    return np.concatenate(squeezed)


def normalise(frames: np.ndarray) -> np.ndarray:
    """uint8 [F, Y, X, 3] to float32 [F, 3, Y, X] of CLIP's zero mean and unit spread."""
    mean, std = np.asarray(CLIP_MEAN, np.float32), np.asarray(CLIP_STD, np.float32)
    return np.ascontiguousarray(np.moveaxis((frames.astype(np.float32) / 255 - mean) / std, -1, 1))


def _decode(video, num_frames: int) -> np.ndarray:
    """Decodes a file twice, to count its frames and to take some; its header is not trusted."""
    if av is None:
        raise ImportError("reading a video file needs PyAV (pip install av); or give the clip's frames as an array.")
    numbers = uniform_indices(sum(1 for _ in _all_frames(video)), num_frames)
    wanted, found = set(numbers.tolist()), {}
    for i, frame in enumerate(_all_frames(video)):
        if i in wanted:
            found[i] = frame
    height, width = found[numbers[0]].height, found[numbers[0]].width
    turns = round(getattr(found[numbers[0]], "rotation", 0) / 90) % 4
    pictures = {i: frame.reformat(width, height, "rgb24").to_ndarray() for i, frame in found.items()}
    return np.ascontiguousarray(np.rot90(np.stack([pictures[i] for i in numbers]), turns, axes=(1, 2)))


def _all_frames(video):
    """The frames of the first video stream that is no cover picture; packets that do not decode are left out."""
    name = "the clip" if isinstance(video, bytes) else os.fspath(video)
    count = 0
    try:
        source = io.BytesIO(video) if isinstance(video, bytes) else name
        with av.open(source, metadata_errors="ignore") as container:
            covers = av.stream.Disposition.attached_pic
            streams = [stream for stream in container.streams.video if not stream.disposition & covers]
            for packet in container.demux(streams[0]) if streams else ():
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                count += len(frames)
                yield from frames
    except av.error.FFmpegError as error:
        if not count:
            raise ValueError(f"{name} is not a readable video ({error.strerror}).") from error
    if not count:
        raise ValueError(f"{name} has no video frame that decodes.")


def _resize_rows(frames: np.ndarray, num_out: int) -> np.ndarray:
    """Resizes axis 1 of [F, R, X, C], in runs of output rows, each from the input rows that it needs."""
    num_frames, num_in, *rest = frames.shape
    flat = np.ascontiguousarray(frames).reshape(num_frames, num_in, -1)
    matrix = _bicubic(num_in, num_out)
    out = np.empty((num_frames, num_out, flat.shape[-1]), flat.dtype)
    for start in range(0, num_out, _RUN):
        rows = slice(start, min(start + _RUN, num_out))
        used = np.flatnonzero(matrix[rows].any(0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        np.matmul(np.ascontiguousarray(matrix[rows, columns], flat.dtype), flat[:, columns], out=out[:, rows])
    return out.reshape(num_frames, num_out, *rest)


def _bicubic(num_in: int, num_out: int) -> np.ndarray:
    """Weights of every input row in every output row, [num_out, num_in]."""
    scale = num_in / num_out
    widened = max(scale, 1.0)
    matrix = np.zeros((num_out, num_in))
    for row in range(num_out):
        centre = (row + 0.5) * scale
        first, last = max(int(centre - 2 * widened + 0.5), 0), min(int(centre + 2 * widened + 0.5), num_in)
        x = np.abs((np.arange(first, last) - centre + 0.5) / widened)
        near, far = (1.5 * x - 2.5) * x * x + 1, -0.5 * (((x - 5) * x + 8) * x - 4)
        weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
        matrix[row, first:last] = weights / weights.sum()
    return matrix
