"""Reads the pieces of one film as an encoder takes them.

A film is read in one streaming pass (``timeline.py``). Each piece has F frames, evenly spaced from its first to its
last by their numbers, resized as those of any other clip, so that its vector is the one that the model gives for the
piece as a file of its own.
"""

import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from hilight_jax.data.films.pieces import Piece, frames_before, pieces
from hilight_jax.data.films.timeline import FrameMissing, Timeline, chosen_frames, decoded_timeline, packet_timeline
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.data.video import VideoError, to_rgb

STRIP_FRAMES, STRIP_ROWS = 4, 72
_STRIP_QUALITY = 70
_WIDEST = 3 * STRIP_ROWS


class ReadPiece(NamedTuple):
    """A piece with its frames.

    Attributes:
      piece: Its times.
      frames: uint8 [F, y, x, 3], resized to the model's square.
      numbers: int [F], their numbers in the film, from 0.
      strip: A JPEG file of some of the frames side by side.
    """

    piece: Piece
    frames: UInt8[np.ndarray, "F y x 3"]
    numbers: Int[np.ndarray, " F"]
    strip: bytes


@dataclasses.dataclass(frozen=True)
class PieceReader:
    """Reads the pieces of films: ``reader(path, report)`` yields the timeline, then every piece.

    Attributes:
      rule: Of the pieces.
      num_frames: F, frames of a piece.
      image_size: Rows and columns of a frame.
      threads: Threads that decode.
    """

    rule: str
    num_frames: int
    image_size: int
    threads: int = 1

    def __call__(self, path: str, report: Callable[[float], None]) -> Iterator[Timeline | ReadPiece]:
        """Yields the timeline and the pieces; goes on by counting where the times of the packets are wrong.

        Args:
          path: The film.
          report: Called now and then with the share of the film that is read.

        Raises:
          VideoError: The file cannot be opened as a video, or no frame decodes.
        """
        latest = -np.inf
        for read_timeline in (packet_timeline, decoded_timeline):
            timeline = read_timeline(path, report)
            if timeline is None:
                continue
            yield timeline
            held = _held_frames(self._pieces(path, timeline, report), timeline.times)
            try:
                for part in self._frames(path, [(p, span) for p, span in held if p.start > latest], timeline, report):
                    latest = part.piece.start
                    yield part
                return
            except FrameMissing:
                continue

    def _pieces(self, path: str, timeline: Timeline, report: Callable[[float], None]) -> list[Piece]:
        """Lists the pieces, those before the place where the film cannot be read on."""
        found: list[Piece] = []
        try:
            found.extend(pieces(path, self.rule, timeline.times, timeline.end, report))
        except VideoError as error:
            if not found:
                raise
            timeline.faults.append(str(error))
        return found

    def _frames(
        self, path: str, held: list[tuple[Piece, slice]], timeline: Timeline, report: Callable[[float], None]
    ) -> Iterator[ReadPiece]:
        """Yields pieces in order, each when its last frame is read."""
        if not held:
            return
        numbers = np.array([span.start + uniform_indices(span.stop - span.start, self.num_frames) for _, span in held])
        order = np.argsort(numbers, axis=None, kind="stable")
        # The first frame is read as well, to find out whether the film begins where its packets do.
        chosen = np.union1d(numbers, [0])
        opened: dict[int, _Opened] = {}
        position = emitted = 0
        for number, frame in chosen_frames(path, timeline, chosen, report, self.threads):
            small = None
            while position < len(order) and numbers.flat[order[position]] == number:
                row, column = divmod(int(order[position]), self.num_frames)
                if small is None:
                    small = to_uint8_size(to_rgb([frame]), (self.image_size, self.image_size))[0], _thumbnail(frame)
                opened.setdefault(row, _Opened([], [])).add(*small)
                position += 1
            while emitted in opened and len(opened[emitted].frames) == self.num_frames:
                one = opened.pop(emitted)
                yield ReadPiece(held[emitted][0], np.stack(one.frames), numbers[emitted], _strip(one.thumbnails))
                emitted += 1


class _Opened(NamedTuple):
    """The frames of a piece that are read so far."""

    frames: list[np.ndarray]
    thumbnails: list[np.ndarray]

    def add(self, frame: np.ndarray, thumbnail: np.ndarray) -> None:
        self.frames.append(frame)
        self.thumbnails.append(thumbnail)


def _held_frames(found: list[Piece], times: Float[np.ndarray, " n"]) -> list[tuple[Piece, slice]]:
    """Pairs the pieces with the frames that each holds; leaves out those that hold none."""
    firsts = frames_before(times, [piece.start for piece in found])
    lasts = frames_before(times, [piece.end for piece in found])
    return [
        (piece, slice(int(first), int(last)))
        for piece, first, last in zip(found, firsts, lasts, strict=True)
        if last > first
    ]


def _thumbnail(frame: av.VideoFrame) -> UInt8[np.ndarray, "rows columns 3"]:
    """Shrinks a frame to the height of a strip, upright."""
    turns = round(frame.rotation / 90) % 4
    height, width = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
    columns = min(max(round(STRIP_ROWS * width / height), 1), _WIDEST)
    size = (STRIP_ROWS, columns) if turns % 2 else (columns, STRIP_ROWS)
    small = frame.reformat(*size, format="rgb24", interpolation="AREA").to_ndarray()
    return np.rot90(small, turns)


def _strip(thumbnails: list[np.ndarray]) -> bytes:
    """Joins some thumbnails side by side in a JPEG file."""
    shown = [thumbnails[i] for i in uniform_indices(len(thumbnails), min(STRIP_FRAMES, len(thumbnails)))]
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.concatenate(shown, axis=1))).save(content, "JPEG", quality=_STRIP_QUALITY)
    return content.getvalue()
