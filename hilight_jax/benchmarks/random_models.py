"""Chat models of random weights, to measure what does not depend on what a model has learnt."""

import tempfile
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hilight_jax.core import trees
from hilight_jax.core.config import to_dict
from hilight_jax.core.lazy import LazyArray
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer, train_tokenizer
from hilight_jax.formats.checkpoint_files import Foreign
from hilight_jax.formats.exporting.exported_model import ExportedChat
from hilight_jax.formats.exporting.hilight import write_hilight
from hilight_jax.formats.importing.imported_model import Imported
from hilight_jax.formats.importing.workdirs import write_run
from hilight_jax.models.hilight import param_shapes
from hilight_jax.models.hilight_config import HiLightConfig

_PARTS = ("weights", "vision", "frames")
_TABLE = "gemma/embedder/table"
_VOCABULARY = 512
_STANDARD_DEVIATION = np.float32(0.1)


def random_params(config: HiLightConfig) -> dict[str, Any]:
    """Small random parameters of all parts, made largest first, so that memory never holds much more than they take."""
    block = _block()
    shapes = trees.flatten(param_shapes(config))
    made = {}
    for path in sorted(shapes, key=lambda path: -shapes[path].size):
        made[path] = jax.device_put(np.resize(block, shapes[path].shape).astype(shapes[path].dtype, copy=False))
        made[path].block_until_ready()
    return trees.unflatten({path: made[path] for path in shapes})


def write_random_original(config: HiLightConfig, data: ConversationDataConfig, directory: Path) -> None:
    """Writes a model in the original's layout, one array at a time."""
    block = _block()

    def leaf(_: str, x: jax.ShapeDtypeStruct) -> LazyArray:
        return LazyArray(x.shape, np.float32, lambda: np.resize(block, x.shape))

    directory.mkdir()
    with tempfile.TemporaryDirectory() as place:
        params = trees.map_with_path(leaf, param_shapes(config))
        write_hilight(ExportedChat(config, params, data, _tokenizer(Path(place))), directory)


def write_random_run(config: HiLightConfig, data: ConversationDataConfig, workdir: Path) -> None:
    """Writes a run of ``align`` whose answers are random words of its tokenizer, so that they differ.

    The vocabulary has at least 512 pieces.

    Raises:
      UserError: The workdir exists, or the disk is too small.
    """
    with tempfile.TemporaryDirectory() as place:
        tokenizer = _tokenizer(Path(place))
        pieces = GemmaTokenizer(tokenizer)
        words = [i for i in range(pieces.vocab_size) if pieces.decode([i]).strip().isalpha()]

        def leaf(path: str, x: jax.ShapeDtypeStruct) -> LazyArray:
            def read() -> np.ndarray:
                rng = np.random.default_rng(zlib.crc32(path.encode()))
                numbers = rng.standard_normal(x.shape, np.float32) * _STANDARD_DEVIATION
                if path == _TABLE:
                    numbers[words] *= 4
                return numbers

            return LazyArray(x.shape, np.float32, read)

        params = trees.map_with_path(leaf, param_shapes(config))
        nowhere = {name: Foreign(Path(name), {}, {}, ()) for name in _PARTS}
        fields = ("num_frames", "key_frames", "num_video_tokens", "max_length")
        shown = {name: value for name, value in to_dict(data).items() if name in fields}
        imported = Imported("random numbers", "chat", config, params, 0, {}, nowhere, data=shown)
        write_run(imported, workdir, tokenizer=tokenizer)


def _block() -> np.ndarray:
    """A million random numbers; arrays repeat them, for their values change no time."""
    return np.random.default_rng(0).standard_normal(1_000_003, np.float32) * np.float32(0.02)


def _tokenizer(place: Path) -> Path:
    path = place / "tokenizer.model"
    colours, verbs = ("red", "blue", "green", "black", "white"), ("potted", "hit", "missed", "seen")
    train_tokenizer([f"the {c} ball is {v} first" for c in colours for v in verbs], _VOCABULARY, str(path))
    return path
