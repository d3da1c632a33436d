"""Kind ``long_clip_pos_stretch``: 77 positions become 248, exactly and as the original's float16 does it."""

import numpy as np

from hilight_jax.formats.long_clip_names import stretch_positions
from tests.parity.case import Case


def check(case: Case) -> None:
    """Every table of the case; names say how many rows go in and come out."""
    for match in list(case.names(r"inputs/positional_embedding_(\d+)")):
        table = case.input(f"positional_embedding_{match[1]}")
        exact = stretch_positions(table)
        case.compare(f"outputs/positional_embedding_{len(exact)}_exact", exact)
        rounded = stretch_positions(table.astype(np.float16))
        case.compare(f"outputs/positional_embedding_{len(rounded)}_official_fp16_path", rounded)
