"""Working directories of an encoder and a Long-CLIP with random values, and of chat stages built on them."""

import json
from pathlib import Path

import jax
import numpy as np

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.config import to_dict
from hilight_jax.models.hilight import HiLight
from hilight_jax.stages.load_config import load_config
from tests.stages.tiny import tiny_config
from tests.stages.tiny_chat import tiny_chat_config

LONG_CLIP = tuple(
    f"--config.model.{key}"
    for key in (
        "frames.width=16",
        "frames.depth=2",
        "frames.num_heads=2",
        "frames.mlp_dim=32",
        "frames.patch_size=16",
        "frames.embed_dim=16",
        "text.width=16",
        "text.depth=1",
        "text.num_heads=2",
        "text.mlp_dim=32",
        "text.embed_dim=16",
        "compute.unroll=false",
    )
)


def make_towers(root: Path) -> tuple[Path, Path]:
    """Writes ``root/encoder`` and ``root/long_clip``, runs of one step whose towers fit ``tiny_chat_config``."""
    model = tiny_chat_config().model
    video, keys = np.zeros((1, 6, 64, 64, 3), np.float32), np.arange(4, dtype=np.int32)[None]
    params = jax.jit(lambda key: HiLight(model).init(key, video, keys, method="encode_video")["params"])(
        jax.random.key(0)
    )
    write_run(root / "encoder", tiny_config(), {name: params[name] for name in ("vision", "text", "local")})
    long_clip = load_config("configs/long_clip.py:demo", LONG_CLIP)
    write_run(root / "long_clip", long_clip, {"frames": params["frames"]})
    return root / "encoder", root / "long_clip"


def write_run(workdir: Path, config, params: dict) -> None:
    """A working directory with one checkpoint."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "config.json").write_text(json.dumps(to_dict(config)))
    store = Store(workdir / "checkpoints")
    store.save(1, params, {"count": np.zeros(())}, {"step": 1}, to_dict(config))
    store.close()


def chat_overrides(encoder: Path, long_clip: Path, *more: str) -> tuple[str, ...]:
    """Options of ``align`` on these towers."""
    return (f"--config.sources.encoder={encoder}", f"--config.sources.long_clip={long_clip}", *more)
