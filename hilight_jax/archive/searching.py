"""Finds the pieces of an index that fit a vector: exactly in small tables, through an IVF-PQ index in large ones."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hilight_jax.archive.store import Store, lance_errors
from hilight_jax.core.errors import DataError

APPROXIMATE_ROWS = 100_000  # From so many rows on a table gets an index; fewer are compared one by one in milliseconds.
PARTITION_ROWS = 4096
PROBES = 32
REFINED = 50  # So many times the wanted rows are compared again by their whole vectors.
_NUMBERS_PER_CODE = 8  # Of a vector, in one byte of the index.
_COLUMNS = ("film", "number", "start", "end", "stroke", "kind", "_distance")


class Hit(NamedTuple):
    """A piece that was found.

    Attributes:
      film: Path of its file.
      number: Its place in the film, from 0.
      start: Its beginning, in seconds from the first shown frame.
      end: Its end.
      stroke: Time at which the cue ball is struck; None where that is unknown.
      kind: Of the piece.
      score: Its cosine with the query; the mean of two cosines where text and video are given.
      strip: A JPEG file of frames; empty where none was asked for.
    """

    film: str
    number: int
    start: float
    end: float
    stroke: float | None
    kind: str
    score: float
    strip: bytes = b""


class Query(NamedTuple):
    """The vector that is searched for.

    Attributes:
      vector: Of length 1.
      scale: Its cosine with a piece, times this, is the score.
    """

    vector: Float[np.ndarray, " E"]
    scale: float = 1.0


def combine(text: np.ndarray | None, video: np.ndarray | None) -> Query:
    """Makes the query of a text's and a video's unit vector, or of one of them.

    With both, the score is the mean of the two cosines: a piece must fit both.

    Raises:
      DataError: Neither is given, or they are opposite.
    """
    given = [vector for vector in (text, video) if vector is not None]
    if not given:
        raise DataError("there is nothing to search for; give a text, --video FILE, or both.")
    mean = np.mean(given, axis=0)
    scale = float(np.linalg.norm(mean))
    if scale < 1e-6:
        raise DataError("the text and the video are opposites, so nothing fits both; search for one of them.")
    return Query(mean / scale, scale)


def search(store: Store, query: Query, top: int, exact: bool = False, strips: bool = False) -> list[Hit]:
    """Finds the pieces that fit best, the best first.

    Args:
      store: The index.
      query: Of ``combine``.
      top: How many.
      exact: Compare every row, also where there is an index of vectors.
      strips: Read the strips of frames, too.

    Raises:
      DataError: ``top`` is no positive number.
    """
    if top < 1:
        raise DataError(f"--top is {top}, but must be at least 1.")
    columns = [*_COLUMNS, *(["strip"] if strips else [])]
    with lance_errors(store.uri):
        found = store.table.search(query.vector.astype(np.float32), vector_column_name="vector")
        found = found.distance_type("cosine").limit(top).select(columns)
        found = found.bypass_vector_index() if exact else found.nprobes(PROBES).refine_factor(REFINED)
        rows = found.to_arrow().to_pylist()
    hits = [Hit(**row, score=(1.0 - distance) * query.scale) for row in rows for distance in [row.pop("_distance")]]
    return sorted(hits, key=lambda hit: (-hit.score, hit.film, hit.start))


def prepare(store: Store, log: Callable[[str], None], rows: int = APPROXIMATE_ROWS) -> None:
    """Makes a table fast to search: joins its small files, and makes or extends the index of a large one."""
    from lancedb.index import IvfPq

    with lance_errors(store.uri):
        count = store.table.count_rows()
        if count >= rows and not store.table.list_indices():
            log(f"making the index of {count:,} vectors")
            codes = max(1, store.about.width // _NUMBERS_PER_CODE)
            partitions = max(1, count // PARTITION_ROWS)
            config = IvfPq(distance_type="cosine", num_partitions=partitions, num_sub_vectors=codes)
            store.table.create_index("vector", config=config)
        store.table.optimize()
