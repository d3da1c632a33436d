"""Measures a search in an index of so many vectors: milliseconds, and recall against the exact search.

The vectors are drawn: directions around as many centres as an archive has kinds of shot, and queries near them. What
an encoder gives is easier or harder; the recall of a real index is measured by ``search --exact``.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.archive.searching import Query, prepare, search
from hilight_jax.archive.store import About, FilmRows, Store, create_store, open_store
from hilight_jax.core.errors import UserError
from hilight_jax.core.progress import Progress

_CHUNK = 50_000
_CENTRES = 2000
_SPREAD = 0.7  # Length of the noise beside a centre's length of 1.
_PIECES = 500  # Of a film.


def measure(config: None, vectors: int, width: int, queries: int, top: int, place: Path) -> dict[str, Any]:
    """Makes an index of ``vectors`` rows below ``place``, searches it, and removes it.

    Raises:
      UserError: The disk has no room for it.
    """
    place.mkdir(parents=True, exist_ok=True)
    statistics = os.statvfs(place)
    free, needed = statistics.f_bavail * statistics.f_frsize, 8 * vectors * width
    if free < needed:
        raise UserError(
            f"it needs {needed / 1e9:.1f} GB below '{place}', and {free / 1e9:.1f} are free; give another --place."
        )
    rng = np.random.default_rng(0)
    centres = _units(rng.standard_normal((_CENTRES, width)))
    with tempfile.TemporaryDirectory(dir=place, prefix="index-") as directory:
        store = create_store(directory, About("benchmark", "windows 5,5", 1, 1, width, "benchmark", 0))
        began = time.monotonic()
        _fill(store, rng, centres, vectors)
        written = time.monotonic()
        prepare(store, lambda line: None)
        made = time.monotonic()
        asked = [Query(vector) for vector in _near(rng, centres, queries)]
        store = open_store(directory)
        for query in asked[:5]:
            search(store, query, top)
        found, seconds = zip(*(_timed(store, query, top, False) for query in asked), strict=True)
        exact, exact_seconds = zip(*(_timed(store, query, top, True) for query in asked[:50]), strict=True)
        recalls = [len(a & b) / len(b) for a, b in zip(found, exact, strict=False)]
        size = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    milliseconds = 1000 * np.array(seconds)
    return {
        "vectors": vectors,
        "width": width,
        "cores": len(os.sched_getaffinity(0)),
        "seconds": {"writing": written - began, "making the index": made - written},
        "gigabytes": size / 1e9,
        "milliseconds": {
            "median": float(np.median(milliseconds)),
            "95 %": float(np.quantile(milliseconds, 0.95)),
            "longest": float(milliseconds.max()),
            "exact search": 1000 * float(np.median(exact_seconds)),
        },
        f"recall at {top} against the exact search": float(np.mean(recalls)),
    }


def _fill(store: Store, rng: np.random.Generator, centres: np.ndarray, count: int) -> None:
    progress = Progress(count, "writing", "vectors")
    for start in range(0, count, _CHUNK):
        vectors = _near(rng, centres, min(_CHUNK, count - start))
        films = []
        for first in range(0, len(vectors), _PIECES):
            part = vectors[first : first + _PIECES]
            pieces = [(5.0 * i, 5.0 * i + 5, None, "window") for i in range(len(part))]
            path = f"/archive/{start + first:09}.mp4"
            films.append(FilmRows(path, (0, 0), "", 5.0 * len(part), "", pieces, [b""] * len(part), list(part)))
        store.add(films, [])
        progress.update(len(vectors))
    progress.close()


def _near(rng: np.random.Generator, centres: np.ndarray, count: int) -> np.ndarray:
    """Draws unit vectors around the centres."""
    noise = rng.standard_normal((count, centres.shape[1]), np.float32) * (_SPREAD / np.sqrt(centres.shape[1]))
    return _units(centres[rng.integers(0, len(centres), count)] + noise)


def _units(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _timed(store: Store, query: Query, top: int, exact: bool) -> tuple[set[tuple[str, int]], float]:
    """Searches; returns the pieces that were found, and the seconds."""
    began = time.perf_counter()
    hits = search(store, query, top, exact)
    return {(hit.film, hit.number) for hit in hits}, time.perf_counter() - began
