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

from hilight_jax.core.errors import UserError
from hilight_jax.data.films.reader import PieceReader, ReadPiece
from hilight_jax.serving.videos.decode_child import check, limit_process


def main() -> int:
    """Reads the film of the command line."""
    path, limits = Path(sys.argv[1]), json.loads(sys.argv[2])
    limit_process(limits)
    try:
        check(path, limits)
        seconds, faults = 0.0, []
        for part in PieceReader(limits["rule"], limits["num_frames"], limits["image_size"])(
            str(path), lambda share: None
        ):
            if isinstance(part, ReadPiece):
                piece = np.array(json.dumps(part.piece))
                strip = np.frombuffer(part.strip, np.uint8)
                _send(frames=part.frames, numbers=np.asarray(part.numbers), piece=piece, strip=strip)
            else:
                seconds, faults = part.end, part.faults
    except UserError as error:
        sys.stderr.write(str(error))
        return 2
    except MemoryError:
        sys.stderr.write("the film takes more memory to decode than it may; give one of smaller frames.")
        return 2
    _send(seconds=np.array(seconds), faults=np.array(json.dumps(faults)))
    return 0


def _send(**arrays: Any) -> None:
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    content = archive.getvalue()
    sys.stdout.buffer.write(len(content).to_bytes(8, "big") + content)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
