"""The database of an index: one table of pieces, and one of the films of which nothing could be read.

A row of ``pieces`` is one piece of a film; film and number identify it. A commit adds whole films, so a film's rows are
all there or none, whenever a process is killed; a changed film's rows are replaced in one commit. Several hosts append
at the same time. The model and the settings are in the metadata of the table's schema, created with it.

The database is a directory or an object store (``s3://bucket/path``).
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError, UserError

PIECES, UNREADABLE = "pieces", "unreadable"
_ABOUT = b"hilight_jax"
_LAYOUT = 1
_FILM_COLUMNS = ("size", "mtime_ns", "hash")
_REFRESH = datetime.timedelta(seconds=5)  # After so long a server sees what `index` has committed meanwhile.
_QUOTED = 200  # Characters of a library's message.


@dataclasses.dataclass(frozen=True)
class About:
    """The model and the settings of an index; vectors are comparable only where all of it is equal.

    Attributes:
      fingerprint: Of the encoder's parameters.
      rule: That cuts films into pieces.
      num_frames: F, frames of a piece.
      image_size: Rows and columns of a frame.
      width: E, numbers of a vector.
      checkpoint: Where the model was loaded from; it may be another place next time.
      step: Of its checkpoint.
      layout: Of the tables.
    """

    fingerprint: str
    rule: str
    num_frames: int
    image_size: int
    width: int
    checkpoint: str = dataclasses.field(compare=False)
    step: int | None = dataclasses.field(compare=False)
    layout: int = _LAYOUT


class IndexedFilm(NamedTuple):
    """A film as an index holds it."""

    stamp: tuple[int, int]
    hash: str
    problem: str


class FilmRows(NamedTuple):
    """A film to store.

    Attributes:
      path: Its path.
      stamp: Its size and time of change.
      hash: SHA-256 of its content.
      seconds: Its length.
      problem: Sentences about its damage, or an empty string.
      pieces: Of each its start, end, stroke and kind.
      strips: JPEG files of frames.
      vectors: Unit vectors.
    """

    path: str
    stamp: tuple[int, int]
    hash: str
    seconds: float
    problem: str
    pieces: Sequence[tuple[float, float, float | None, str]]
    strips: Sequence[bytes]
    vectors: Sequence[np.ndarray]


class Store:
    """An index that is open.

    Attributes:
      uri: Its place.
      about: Its model and settings.
      table: LanceDB's table of pieces.
    """

    def __init__(self, uri: str, database: Any, table: Any):
        """Wraps an open database; call ``open_store`` or ``create_store``."""
        self.uri, self.table, self._database = uri, table, database
        self.about = _read_about(uri, table.schema)

    def films(self) -> dict[str, IndexedFilm]:
        """Lists the films that have pieces, by path."""
        columns = ["film", *_FILM_COLUMNS, "problem"]
        with lance_errors(self.uri):
            found = self.table.search().where("number = 0").select(columns).to_arrow()
        lists = [found[name].to_pylist() for name in columns]
        return {row[0]: IndexedFilm((row[1], row[2]), *row[3:]) for row in zip(*lists, strict=True)}

    def unreadable(self) -> dict[str, IndexedFilm]:
        """Lists the films of which nothing could be read, by path."""
        with lance_errors(self.uri):
            table = self._unreadable_table()
            rows = [] if table is None else table.to_arrow().to_pylist()
        return {row["film"]: IndexedFilm((row["size"], row["mtime_ns"]), row["hash"], row["problem"]) for row in rows}

    def add(self, films: Sequence[FilmRows], replaced: Sequence[FilmRows]) -> None:
        """Commits the rows of films: one commit for new ones, one for those that replace their earlier rows."""
        with lance_errors(self.uri):
            if films:
                self.table.add(_rows(films, self.about.width))
            if replaced:
                names = ", ".join(_quoted(film.path) for film in replaced)
                merge = self.table.merge_insert(["film", "number"]).when_matched_update_all()
                merge = merge.when_not_matched_insert_all().when_not_matched_by_source_delete(f"film IN ({names})")
                merge.execute(_rows(replaced, self.about.width))

    def touch(self, path: str, stamp: tuple[int, int]) -> None:
        """Notes that a film's time of change is another while its content is the same."""
        with lance_errors(self.uri):
            values = {"size": stamp[0], "mtime_ns": stamp[1]}
            self.table.update(where=f"film = {_quoted(path)}", values=values)

    def note_unreadable(self, films: Mapping[str, IndexedFilm]) -> None:
        """Lists films of which nothing could be read, in one commit."""
        import pyarrow as pa

        if not films:
            return
        columns = {
            "film": list(films),
            "size": pa.array([film.stamp[0] for film in films.values()], pa.int64()),
            "mtime_ns": pa.array([film.stamp[1] for film in films.values()], pa.int64()),
            "hash": [film.hash for film in films.values()],
            "problem": [film.problem for film in films.values()],
        }
        with lance_errors(self.uri):
            data = pa.table(columns)
            table = self._unreadable_table()
            if table is None:
                table = _create(self._database, UNREADABLE, data.schema)
            table.merge_insert("film").when_matched_update_all().when_not_matched_insert_all().execute(data)

    def forget_unreadable(self, paths: Sequence[str]) -> None:
        """Removes films from the list, because they are readable now."""
        if not paths:
            return
        with lance_errors(self.uri):
            if (table := self._unreadable_table()) is not None:
                table.delete(f"film IN ({', '.join(map(_quoted, paths))})")

    def count(self) -> int:
        """Counts the pieces."""
        with lance_errors(self.uri):
            return self.table.count_rows()

    def _unreadable_table(self) -> Any:
        return _open_table(self._database, UNREADABLE)


def open_store(uri: str) -> Store:
    """Opens an index.

    Raises:
      DataError: There is none.
      UserError: LanceDB is not installed, or the place cannot be read.
    """
    store = find_store(uri)
    if store is None:
        raise DataError(f"'{uri}' holds no index; make one by 'python -m hilight_jax.index FILMS --to {uri}'.")
    return store


def find_store(uri: str) -> Store | None:
    """Opens an index; returns None if there is none."""
    if "://" not in uri and not os.path.isdir(uri):
        if os.path.exists(uri):
            raise DataError(f"'{uri}' is a file, but an index is a directory; name another place.")
        return None
    with lance_errors(uri):
        database = _connect(uri)
        table = _open_table(database, PIECES)
    return None if table is None else Store(uri, database, table)


def create_store(uri: str, about: About) -> Store:
    """Opens an index, or makes an empty one.

    Raises:
      DataError: It was made with another model or other settings; they are named.
    """
    store = find_store(uri)
    if store is None:
        with lance_errors(uri):
            database = _connect(uri)
            store = Store(uri, database, _create(database, PIECES, _schema(about)))
    check_same(store, about)
    return store


@contextlib.contextmanager
def writing(uri: str, process: int) -> Iterator[None]:
    """Keeps a second run of the same process number out of an index in a directory; not in an object store.

    Raises:
      UserError: Another run writes.
    """
    if "://" in uri:
        yield
        return
    os.makedirs(uri, exist_ok=True)
    with open(os.path.join(uri, f".writer-{process}"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run writes to '{uri}'; wait until it has ended, or end it, and start again."
            ) from error
        yield


def check_same(store: Store, about: About) -> None:
    """Checks that an index was made with a model and with settings.

    Raises:
      DataError: Something is another; it is named.
    """
    found = store.about
    check_model(store, about.fingerprint, f"step {about.step} of '{about.checkpoint}'")
    if found != about:
        names = [field.name for field in dataclasses.fields(About) if field.compare]
        others = [name for name in names if getattr(found, name) != getattr(about, name)]
        raise DataError(
            f"'{store.uri}' was made with {', '.join(f'{name} {getattr(found, name)}' for name in others)}, not "
            f"{', '.join(str(getattr(about, name)) for name in others)}; give the same settings, or name another "
            f"place for a new index."
        )


def check_model(store: Store, fingerprint: str, named: str) -> None:
    """Checks that an index was made with an encoder, which ``named`` describes.

    Raises:
      DataError: It was made with another.
    """
    if store.about.fingerprint != fingerprint:
        raise DataError(
            f"'{store.uri}' was made with another model, step {store.about.step} of '{store.about.checkpoint}', whose "
            f"vectors cannot be compared with those of {named}; give that model, or another index."
        )


def _read_about(uri: str, schema: Any) -> About:
    try:
        values = json.loads(schema.metadata[_ABOUT])
        if values["layout"] != _LAYOUT:
            raise DataError(f"'{uri}' was written by another version of hilight_jax; make a new index with this one.")
        return About(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"'{uri}' is a LanceDB database, but no index of films; name another place.") from error


def _schema(about: About) -> Any:
    import pyarrow as pa

    columns = {
        "film": pa.string(),
        "number": pa.int32(),
        "start": pa.float64(),
        "end": pa.float64(),
        "stroke": pa.float64(),
        "kind": pa.string(),
        "vector": pa.list_(pa.float32(), about.width),
        "strip": pa.binary(),
        "size": pa.int64(),
        "mtime_ns": pa.int64(),
        "hash": pa.string(),
        "seconds": pa.float64(),
        "problem": pa.string(),
    }
    return pa.schema(columns, metadata={_ABOUT: json.dumps(dataclasses.asdict(about)).encode()})


def _rows(films: Sequence[FilmRows], width: int) -> Any:
    """Makes the rows of films as an Arrow table."""
    import pyarrow as pa

    counts = [len(film.pieces) for film in films]

    def repeated(values: Sequence[Any], kind: Any) -> Any:
        return pa.array([v for v, count in zip(values, counts, strict=True) for _ in range(count)], kind)

    starts, ends, strokes, kinds = zip(*(piece for film in films for piece in film.pieces), strict=True)
    vectors = np.concatenate([np.asarray(film.vectors, np.float32).reshape(-1) for film in films])
    return pa.table(
        {
            "film": repeated([film.path for film in films], pa.string()),
            "number": pa.array([number for count in counts for number in range(count)], pa.int32()),
            "start": pa.array(starts, pa.float64()),
            "end": pa.array(ends, pa.float64()),
            "stroke": pa.array(strokes, pa.float64()),
            "kind": pa.array(kinds, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), width),
            "strip": pa.array([strip for film in films for strip in film.strips], pa.binary()),
            "size": repeated([film.stamp[0] for film in films], pa.int64()),
            "mtime_ns": repeated([film.stamp[1] for film in films], pa.int64()),
            "hash": repeated([film.hash for film in films], pa.string()),
            "seconds": repeated([film.seconds for film in films], pa.float64()),
            "problem": repeated([film.problem for film in films], pa.string()),
        }
    )


def _connect(uri: str) -> Any:
    try:
        import lancedb
    except ImportError as error:
        raise UserError(f"an archive needs more ({error}); pip install 'hilight_jax[archive]'.") from error
    return lancedb.connect(uri, read_consistency_interval=_REFRESH)


def _open_table(database: Any, name: str) -> Any:
    """Opens a table; returns None if the database has none of this name."""
    try:
        return database.open_table(name)
    except ValueError as error:
        if "not found" in str(error):
            return None
        raise


def _create(database: Any, name: str, schema: Any) -> Any:
    """Creates an empty table, or opens the one that another process has just created."""
    try:
        return database.create_table(name, schema=schema)
    except (ValueError, RuntimeError, OSError):
        if (table := _open_table(database, name)) is not None:
            return table
        raise


def _quoted(text: str) -> str:
    """Writes a string as SQL does."""
    return "'" + text.replace("'", "''") + "'"


@contextlib.contextmanager
def lance_errors(uri: str) -> Iterator[None]:
    """Turns LanceDB's errors into a sentence."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        said = " ".join(str(error).split(", /root/")[0].split())[:_QUOTED]
        raise UserError(
            f"the index '{uri}' cannot be read or written ({said}); mend this and start the same command again."
        ) from error
