"""From the command line or a working directory to the configuration of a training run."""

import ast
import importlib.util
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from hilight_jax.core.config import build, to_dict
from hilight_jax.core.errors import ConfigError, nearest
from hilight_jax.runs.workdir import read_values, stage_of
from hilight_jax.stages.table import STAGES
from hilight_jax.training.run_config import RunConfig


def load_config(spec: str, overrides: Sequence[str] = (), data_dir: str | Path = "data") -> RunConfig:
    """Reads ``FILE.py[:ARGUMENT]``, applies ``config.key=value`` overrides, and freezes the result.

    Raises:
      ConfigError: No such file, preset or key, or a value that is not allowed.
    """
    path, _, argument = spec.partition(":")
    if not Path(path).is_file() or Path(path).suffix != ".py":
        raise ConfigError(f"there is no Python file '{path}' here ({Path.cwd()}); try configs/encoder.py.")
    module = _execute(Path(path).resolve())
    if not hasattr(module, "get_config"):
        raise ConfigError(f"'{path}' defines no get_config, so it is no config file; try configs/encoder.py.")
    config = module.get_config(argument) if argument else module.get_config()
    for override in overrides:
        _override(config, override)
    stage = stage_of(config)
    if stage in STAGES and STAGES[stage].stage is None:
        trained = [name for name, row in STAGES.items() if row.stage is not None]
        raise ConfigError(f"the stage '{stage}' is not trained; train one of {', '.join(trained)}.")
    return build_run({"data_dir": str(data_dir), **config.to_dict()})


def read_config(workdir: str | Path) -> RunConfig:
    """Reads back the configuration of a run, its sources ready to open.

    Raises:
      CheckpointError: There is none, or it is damaged.
    """
    return build_run(read_values(workdir)).with_sources()


def with_defaults(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """A saved configuration with the keys that have come since, at their defaults; as it is when a key has gone."""
    try:
        return to_dict(build_run(saved))
    except ConfigError:
        return saved


def build_run(values: Mapping[str, Any]) -> RunConfig:
    """Builds the configuration of the stage that ``values`` name; a run that names none is of the encoder.

    Raises:
      ConfigError: The stage is unknown, or a key or value is not allowed.
    """
    stage = stage_of(values)
    if stage not in STAGES:
        raise ConfigError(
            f"config.stage is {stage!r}, but must be one of {', '.join(STAGES)}.{nearest(str(stage), STAGES)}"
        )
    return build(STAGES[stage].config, values)


def _execute(path: Path) -> types.ModuleType:
    """Runs a config file, which may import others of its own folder ``configs`` or of the current directory's."""
    spec = importlib.util.spec_from_file_location("hilight_jax_config", path)
    module = importlib.util.module_from_spec(spec)
    others = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "configs"}
    before = sys.path[:]
    sys.path[:] = [*([str(path.parent.parent)] if path.parent.name == "configs" else []), *before, str(Path.cwd())]
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
        for name in [name for name in sys.modules if name.partition(".")[0] == "configs"]:  # Another file has its own.
            del sys.modules[name]
        sys.modules.update(others)
    return module


def _override(config: ml_collections.ConfigDict, override: str) -> None:
    """Sets one key; ``build`` refuses unknown keys later."""
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
