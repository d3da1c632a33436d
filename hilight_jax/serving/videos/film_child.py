"""Cuts an untrusted film into pieces in its own process: ``python -m ...serving.videos.film_child FILE LIMITS``.

As ``decode_child``, but for a film of any length: every piece is sent when it is read. Parts go to stdout as numpy
archives, each behind its length in eight bytes: one with ``frames``, ``numbers``, ``piece`` and ``strip`` for every
piece, and a last one with ``seconds`` and ``faults``. An error goes to stderr as one sentence, with exit code 2.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.data.films.reader import PieceReader, ReadPiece
from hilight_jax.serving.videos.decode_child import check, run_limited


def main() -> int:
    """Reads the film of the command line."""
    return run_limited(_read, "the film takes more memory to decode than it may; give one of smaller frames.")


def _read(path: Path, limits: dict[str, Any]) -> None:
    check(path, limits)
    reader, end = PieceReader(limits["rule"], limits["num_frames"], limits["image_size"]), None
    for part in reader(str(path), lambda share: None):
        if isinstance(part, ReadPiece):
            strip = np.frombuffer(part.strip, np.uint8)
            _send(frames=part.frames, numbers=part.numbers, piece=np.array(json.dumps(part.piece)), strip=strip)
        else:
            end = part
    seconds, faults = (0.0, []) if end is None else (end.end, end.faults)
    _send(seconds=np.array(seconds), faults=np.array(json.dumps(faults)))


def _send(**arrays: Any) -> None:
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    content = archive.getvalue()
    sys.stdout.buffer.write(len(content).to_bytes(8, "big") + content)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
