"""Kind ``frame_sampling``: which frames HiLight and CLIP-ViP look at, in evaluation and in training."""

import numpy as np

from hilight_jax.data import frame_sampling


def check(case):
    """Compares uniform, jittered and middle frames; the jitter draws from numpy's legacy seeded stream."""
    counts = case.input("n")
    if counts is not None:
        hilight = [frame_sampling.uniform_indices(int(n), 12) for n in counts]
        case.exact("outputs/hilight.frame_idx", np.stack(hilight))
        case.exact("outputs/clipvip.mid_frame_idx", [frame_sampling.middle_index(int(n)) for n in counts])
    for match in case.names(r"outputs/clipvip\.eval\.frm(\d+)\.clips(\d+)"):
        num_frames = int(match[1]) * int(match[2])
        case.exact(match[0], np.stack([frame_sampling.uniform_indices(int(n), num_frames) for n in counts]))
    jitter_cases = case.input("jitter_cases")
    if jitter_cases is not None:
        _check_jitter(case, jitter_cases.tolist())


def _check_jitter(case, rows):
    width = case.tensors["outputs/clipvip.jitter.frame_idx"].shape[1]
    indices, ends = [], []
    for num_total, seed, num_frames in rows:
        ends.append(frame_sampling.jittered_endpoints(num_total, num_frames, np.random.RandomState(seed).randint))
        chosen = frame_sampling.jittered_indices(num_total, num_frames, np.random.RandomState(seed).randint)
        indices.append(np.pad(chosen, (0, width - num_frames), constant_values=-1))
    case.exact("outputs/clipvip.jitter.frame_idx", np.stack(indices))
    case.exact("outputs/clipvip.jitter.interval_start_end", np.array(ends))
