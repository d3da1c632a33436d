"""Small films of moving squares, an encoder that needs no jax, and the rows of an index to compare."""

import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from hilight_jax.archive.building import Effort, fill, make_plan
from hilight_jax.archive.films import list_films
from hilight_jax.archive.store import About, create_store

RULE = "windows 1,1"
ABOUT = About("a fingerprint", RULE, 3, 16, 8, "runs/tiny", 1)
EFFORT = Effort(workers=2, time_limit=60, batch_size=4, commit_seconds=0.0)


def write_film(path, seconds=3.0, rate=10, seed=0, size=(48, 64), times=None, container=None, **options):
    """Writes H.264 with B-frames; ``times`` are time stamps in hundredths of a second. Returns the path."""
    rng = np.random.default_rng(seed)
    count = len(times) if times is not None else round(seconds * rate)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream("libx264", rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast", "g": "20", "threads": "1", **options}
        stream.codec_context.time_base = Fraction(1, 100)
        background = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        for i in range(count):
            picture = background.copy()
            left = (3 * i + seed) % (size[1] - 8)
            picture[8:24, left : left + 8] = rng.integers(0, 256, 3)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = round(100 * i / rate) if times is None else times[i]
            frame.time_base = Fraction(1, 100)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return Path(path)


def write_films(directory, count=5):
    """Writes films of 1 to ``count`` seconds below a directory and returns it."""
    (directory / "more").mkdir(parents=True, exist_ok=True)
    for i in range(count):
        write_film(directory / ("more" if i % 2 else ".") / f"film {i}'s.mp4", seconds=1 + i, seed=i)
    return directory


def encode(frames):
    """Embeds clips by the colours of their parts, as unit vectors [B, 8]."""
    vectors = frames.reshape(len(frames), 8, -1).astype(np.float32).std(axis=2) + 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def index(directory, uri, effort=EFFORT, retry=False):
    """Indexes a directory; returns the counts."""
    store = create_store(str(uri), ABOUT)
    return fill(store, make_plan(store, list_films(directory).films, retry), encode, effort)


def rows_of(uri):
    """All rows of an index in the order of film and number, and the films that could not be read."""
    store = create_store(str(uri), ABOUT)
    rows = store.table.to_arrow().sort_by([("film", "ascending"), ("number", "ascending")]).to_pylist()
    return rows, store.unreadable()


def _slow_encode(frames):
    time.sleep(0.02)
    return encode(frames)


if __name__ == "__main__":  # Indexes slowly, to be killed: FILMS INDEX.
    opened = create_store(sys.argv[2], ABOUT)
    sys.stdout.write("indexing\n")
    sys.stdout.flush()
    fill(opened, make_plan(opened, list_films(sys.argv[1]).films), _slow_encode, EFFORT)
    sys.stdout.write("done\n")
