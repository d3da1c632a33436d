"""Films of any length, cut into shots, each of which is encoded once; texts pick the shots that fit them.

What was encoded is kept in a cache, by the content of the film, the encoder and the rule that cuts films; the films
used longest ago are deleted when all together have more than ``MOST_BYTES``.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.atomic_files import whole_directory
from hilight_jax.core.errors import DataError
from hilight_jax.data.films.pieces import SHOTS, Piece
from hilight_jax.data.films.reader import PieceReader, ReadPiece
from hilight_jax.data.video import VideoError
from hilight_jax.generation.video_clip import VideoClip, Zoom, read_video_clip
from hilight_jax.runs.provenance import fingerprint
from hilight_jax.stages.clip_search import EncodedClip, compare, encode_clip
from hilight_jax.stages.trained_encoder import TrainedEncoder

MOST_BYTES = 2 * 2**30
_LAYOUT = 1


class Moment(NamedTuple):
    """A shot of a film that was compared with a text.

    Attributes:
      number: Of the shot in the film, from 0.
      start: Seconds from the first shown frame to its beginning.
      end: To its end.
      stroke: To the stroke of the cue; None where nothing is played.
      kind: ``stroke``, ``replay``, ``interlude`` or ``window``.
      similarity: Cosine of the text's and the shot's embedding.
      score: The same with the help of the things that the text names; moments are ordered by it.
    """

    number: int
    start: float
    end: float
    stroke: float | None
    kind: str
    similarity: float
    score: float

    @property
    def at(self) -> float:
        """Seconds to the stroke, or else to the beginning."""
        return self.start if self.stroke is None else self.stroke


@dataclasses.dataclass(frozen=True, eq=False)
class WatchedFilm:
    """A film whose shots are encoded.

    Attributes:
      path: The file.
      pieces: Its shots, in order.
      frames: int [S, F], numbers of the frames that each is seen in.
      clips: The encoded shots.
      seconds: Its length.
      faults: Sentences about its damage; empty for a sound one.
    """

    path: Path
    pieces: Sequence[Piece]
    frames: np.ndarray
    clips: Sequence[EncodedClip]
    seconds: float
    faults: tuple[str, ...]

    def moments(self, encoder: TrainedEncoder, text: str, words: bool | None = None) -> list[Moment]:
        """Orders the shots by how well they fit a text, the best first.

        Raises:
          DataError: The text has no words.
          ConfigError: ``words`` is True, but the encoder has no local heads.
        """
        similarity, score = compare(encoder, text, self.clips, words, None)
        found = [
            Moment(number, *piece, float(similarity[number]), float(score[number]))
            for number, piece in enumerate(self.pieces)
        ]
        return sorted(found, key=lambda moment: -moment.score)

    def clip(self, number: int, image_size: int, zoom: Zoom = "off") -> VideoClip:
        """Reads a shot as a chat model sees it.

        Raises:
          DataError: The file cannot be read any more.
        """
        return read_video_clip(str(self.path), self.frames[number].tolist(), image_size, zoom)


def watch(
    encoder: TrainedEncoder,
    path: Path,
    cache: Path,
    rule: str = SHOTS,
    report: Callable[[float], None] = lambda share: None,
) -> WatchedFilm:
    """Cuts a film into shots and encodes them, or finds them in the cache.

    Args:
      encoder: Embeds the shots.
      path: A video file of any length.
      cache: Folder of the encoded films.
      rule: Of ``pieces.parse_rule``.
      report: Called with the share of the film that is read, now and then.

    Raises:
      DataError: It cannot be read; one that is damaged is read as far as it goes.
    """
    if not path.is_file():
        raise DataError(f"{path}: the file does not exist; correct the path.")
    place = cache / _key(encoder, path, rule)
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{place.name}.lock", "w") as lock:  # Another process may watch the same film.
        fcntl.flock(lock, fcntl.LOCK_EX)
        film = _read(path, place)
        if film is None:
            _delete(place)
            _encode(encoder, path, place, rule, report)
            _forget_oldest(cache, place)
            film = _read(path, place)
    if film is None:
        raise DataError(f"the cache '{cache}' does not keep a film; free some space there, or name another folder.")
    with contextlib.suppress(OSError):
        os.utime(place)
    return film


def _encode(encoder: TrainedEncoder, path: Path, place: Path, rule: str, report: Callable[[float], None]) -> None:
    """Reads and encodes a film, and stores what was found as a whole or not at all."""
    data = encoder.config.data
    reader = PieceReader(rule, data.num_frames, data.image_size, threads=os.cpu_count() or 1)
    pieces: list[Piece] = []
    frames: list[np.ndarray] = []
    embeds: list[np.ndarray] = []
    patches: list[np.ndarray] = []
    seconds, faults = 0.0, ()
    try:
        for part in reader(str(path), report):
            if isinstance(part, ReadPiece):
                clip = encode_clip(encoder, part.frames)
                pieces.append(part.piece)
                frames.append(part.numbers)
                embeds.append(clip.embed)
                patches += [] if clip.patches is None else [clip.patches]
            else:
                seconds, faults = part.end, tuple(part.faults)
    except VideoError as error:
        if not pieces:
            raise DataError(f"{path}: {error}") from error
        faults = (*faults, str(error))
    if not pieces:
        raise DataError(f"{path}: it has no piece that can be read{': ' if faults else ''}{'; '.join(faults)}.")
    about = {"pieces": [piece._asdict() for piece in pieces], "seconds": seconds, "faults": faults, "name": path.name}
    about["patches"] = bool(patches)
    with whole_directory(place) as folder:
        np.save(folder / "frames.npy", np.stack(frames))
        np.save(folder / "embeds.npy", np.stack(embeds))
        if patches:
            np.save(folder / "patches.npy", np.stack(patches))
        (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _read(path: Path, place: Path) -> WatchedFilm | None:
    """Reads a film from its place in the cache; None where it is not there, or damaged."""
    try:
        about = json.loads((place / "about.json").read_text(encoding="utf-8"))
        embeds = np.load(place / "embeds.npy")
        patches: Any = [None] * len(embeds)
        if about["patches"]:
            patches = np.load(place / "patches.npy", mmap_mode="r")
        return WatchedFilm(
            path,
            [Piece(**piece) for piece in about["pieces"]],
            np.load(place / "frames.npy"),
            [EncodedClip(embed, of_clip) for embed, of_clip in zip(embeds, patches, strict=True)],
            about["seconds"],
            tuple(about["faults"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _delete(place: Path) -> None:
    """Takes a film out of the cache: under another name first, so that none is found in part."""
    trash = place.with_name(f"{place.name}.trash")
    shutil.rmtree(trash, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(place, trash)
    shutil.rmtree(trash, ignore_errors=True)


def _key(encoder: TrainedEncoder, path: Path, rule: str) -> str:
    digest = hashlib.sha256(f"{_LAYOUT} {rule} {fingerprint(encoder.params)}".encode())
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def _forget_oldest(cache: Path, kept: Path) -> None:
    """Deletes the films used longest ago until all take at most ``MOST_BYTES``; the film that was made stays."""
    held: list[tuple[float, int, Path]] = []
    for folder in cache.iterdir():
        with contextlib.suppress(OSError):  # Another process may delete it meanwhile.
            if (folder / "about.json").is_file():
                held.append((folder.stat().st_mtime, sum(file.stat().st_size for file in folder.iterdir()), folder))
    total = sum(size for _, size, _ in held)
    for _, size, folder in sorted(held):
        if total <= MOST_BYTES:
            return
        if folder != kept:
            _delete(folder)
            folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
            total -= size
