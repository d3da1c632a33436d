"""The whole description of a training run, and how the command line reaches it."""

import ast
import dataclasses
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import ml_collections

from hilight_jax.checkpoints.store import KeepConfig
from hilight_jax.core.config import build
from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.core.json_files import read_object
from hilight_jax.core.mesh import MeshConfig
from hilight_jax.data.config import DataConfig
from hilight_jax.data.tokenizers import VOCABULARY_SIZE
from hilight_jax.losses.local import LocalLossConfig
from hilight_jax.models.video_text import DualEncoderConfig
from hilight_jax.training.optimizer import OptimizerConfig

# Keys that may change when an interrupted run goes on: none of them changes what is computed, but for rounding.
FREE_KEYS = (
    "name",
    "preset",
    "mesh",
    "keep",
    "eval_batch_size",
    "log_every",
    "data_dir",
    "data.num_workers",
    "data.num_threads",
    "data.read_ahead",
    "data.quarantine",
    "data.max_bad_fraction",
)


@dataclasses.dataclass(frozen=True)
class InitFrom:
    """Start from the parameters of another run.

    Attributes:
      workdir: A working directory with checkpoints.
      which: Its ``best`` or its ``latest`` step.
      skip: Path patterns that keep their fresh values; every other name must be there with its shape.
    """

    workdir: str
    which: Literal["best", "latest"] = "best"
    skip: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The encoder's loss: a global contrastive loss plus ``local_weight`` times the local one."""

    contrast: Literal["nce", "nce_vsc_fc"] = "nce"
    local_weight: float = 1.0
    local: LocalLossConfig = LocalLossConfig()


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run of the encoder.

    Attributes:
      name: Names the default working directory, ``runs/<name>-<preset>``.
      preset: The preset of the config file that this came from.
      steps: Optimiser steps.
      batch_size: Clips of one step over all devices and micro-batches.
      accumulate: Micro-batches of a step.
      freeze: Path patterns of parameters that are not trained.
      eval_every: Steps between evaluations on the validation clips; the last step is always evaluated.
      eval_batch_size: Clips of one evaluation batch.
      data_dir: Where generated worlds are kept; ``{data_dir}`` in a source of ``data`` stands for it.
      generate_missing: Generate the named billiards world when its data is missing (the demo); else say so.
    """

    name: str
    preset: str
    steps: int
    batch_size: int
    model: DualEncoderConfig
    loss: LossConfig
    data: DataConfig
    optimizer: OptimizerConfig
    seed: int = 0
    accumulate: int = 1
    freeze: tuple[str, ...] = ()
    init_from: InitFrom | None = None
    mesh: MeshConfig = MeshConfig()
    keep: KeepConfig = KeepConfig()
    log_every: int = 10
    eval_every: int = 1000
    eval_batch_size: int = 64
    data_dir: str = "data"
    generate_missing: bool = False

    def __post_init__(self):
        """Checks keys against each other."""
        for key in ("steps", "batch_size", "accumulate", "log_every", "eval_every", "eval_batch_size"):
            if getattr(self, key) < 1:
                raise ConfigError(f"config.{key} is {getattr(self, key)}, but must be at least 1.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"config.seed is {self.seed}, but must be at least 0 and below 2**32.")
        for pattern in (*self.freeze, *self.optimizer.no_decay, *self.optimizer.multipliers):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"'{pattern}' is not a regular expression of paths: {error}.") from error
        if self.loss.local.contrast != "none" and not self.model.local.levels:
            raise ConfigError(
                f"config.loss.local.contrast is '{self.loss.local.contrast}', but config.model.local.levels is empty; "
                f"tap a level, or set the contrast to 'none'."
            )
        if self.loss.local.contrast == "none" and self.model.local.levels:
            raise ConfigError(
                "config.loss.local.contrast is 'none', but config.model.local.levels taps levels that nothing would "
                "train; set config.model.local.levels=()."
            )
        if self.loss.local_weight < 0:
            raise ConfigError(f"config.loss.local_weight is {self.loss.local_weight}, but must not be negative.")
        if self.loss.contrast == "nce_vsc_fc" and not self.data.frame_captions:
            raise ConfigError("config.loss.contrast='nce_vsc_fc' needs config.data.frame_captions=true.")
        if self.data.image_size != self.model.vision.image_size:
            raise ConfigError(
                f"config.data.image_size is {self.data.image_size}, but config.model.vision.image_size is "
                f"{self.model.vision.image_size}; set both to the same."
            )
        if self.model.text.vocab_size < VOCABULARY_SIZE:
            raise ConfigError(
                f"config.model.text.vocab_size is {self.model.text.vocab_size}, but the tokenizer's ids reach "
                f"{VOCABULARY_SIZE - 1}."
            )
        if self.data.text_length > self.model.text.max_length:
            raise ConfigError(
                f"config.data.text_length is {self.data.text_length}, but the text tower has "
                f"{self.model.text.max_length} positions."
            )

    def with_sources(self) -> "TrainConfig":
        """The same run with ``{data_dir}`` replaced in its sources, ready to open them."""
        sources = {name: getattr(self.data, name) for name in ("train", "validation", "unseen")}
        places = {name: value.replace("{data_dir}", self.data_dir) for name, value in sources.items()}
        return dataclasses.replace(self, data=dataclasses.replace(self.data, **places))


def load_config(spec: str, overrides: Sequence[str] = (), data_dir: str | Path = "data") -> TrainConfig:
    """Reads ``FILE.py[:ARGUMENT]``, applies ``config.key=value`` overrides, and freezes the result.

    Raises:
      ConfigError: No such file, preset or key, or a value that is not allowed.
    """
    path, _, argument = spec.partition(":")
    if not Path(path).is_file() or Path(path).suffix != ".py":
        raise ConfigError(f"there is no Python file '{path}' here ({Path.cwd()}); try configs/encoder.py.")
    module_spec = importlib.util.spec_from_file_location("hilight_jax_config", path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    config = module.get_config(argument) if argument else module.get_config()
    for override in overrides:
        _override(config, override)
    return build(TrainConfig, {"data_dir": str(data_dir), **config.to_dict()})


def read_config(workdir: str | Path) -> TrainConfig:
    """Reads back the configuration of a run, its sources ready to open.

    Raises:
      CheckpointError: There is none, or it is damaged.
    """
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise CheckpointError(f"'{workdir}' is not a working directory: it has no config.json.")
    values = read_object(path, CheckpointError, "restore it, or choose another workdir")
    return build(TrainConfig, values).with_sources()


def _override(config: ml_collections.ConfigDict, override: str) -> None:
    """Sets one key; whether there is such a key is for ``build`` to say."""
    key, equals, text = override.removeprefix("--").partition("=")
    *parents, name = key.removeprefix("config.").split(".")
    if not key.startswith("config.") or not equals:
        raise ConfigError(f"'{override}' is not an argument; write --config.KEY=VALUE, or see --help.")
    node = config
    for i, parent in enumerate(parents):
        node = node[parent] if parent in node else _new_group(node, parent)
        if not isinstance(node, ml_collections.ConfigDict):
            raise ConfigError(f"'{key}' goes too deep: config.{'.'.join(parents[: i + 1])} is a value.")
    with node.unlocked(), node.ignore_type():
        node[name] = _value(text)


def _new_group(node: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    with node.unlocked():
        node[name] = ml_collections.ConfigDict()
    return node[name]


def _value(text: str) -> object:
    """Reads a Python literal; ``true``, ``false`` and ``null`` too; anything else is a string."""
    words = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text
