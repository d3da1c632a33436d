"""The parts that a chat stage takes from other runs: found, checked against its configuration, recorded."""

from pathlib import Path
from typing import Any

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.config import build, differences, to_dict
from hilight_jax.core.errors import CheckpointError
from hilight_jax.runs.provenance import Origin, load_known, load_part, read_provenance, write_provenance
from hilight_jax.runs.workdir import read_values
from hilight_jax.stages.chat_config import ChatTrainConfig


def gather_parts(config: ChatTrainConfig, workdir: Path) -> tuple[dict[str, Any], dict[str, Origin]]:
    """Loads every part that a run takes from others.

    A resumed run takes exactly the parts that it started with, whatever was trained since.

    Returns:
      The parameters and the origins, by part.

    Raises:
      CheckpointError: A source is missing, of another stage, or has parts of other sizes.
    """
    known = read_provenance(workdir) if has_checkpoint(workdir) else {}
    parts, origins = {}, {}
    for field, names in given_parts(config).items():
        source = getattr(config.sources, field)
        if not source:
            continue
        check_source(config, field, names)
        for part in names:
            tree, origin = load_known(part, known[part]) if part in known else _load(source, part, config)
            parts[part], origins[part] = tree, origin
    return parts, origins


def given_parts(config: ChatTrainConfig) -> dict[str, tuple[str, ...]]:
    """The parts that each field of ``config.sources`` gives."""
    frames = ("frames",) if config.model.frames is not None else ()
    projection = () if frames else ("visual_projection",)
    if config.stage == "tune":
        return {"align": ("vision", *frames, *projection, "token_mining", "gemma")}
    return {"encoder": ("vision", *projection), "long_clip": frames, "language_model": ("gemma",)}


def check_source(config: ChatTrainConfig, field: str, parts: tuple[str, ...]) -> None:
    """Refuses a source of another stage, or whose parts are configured otherwise.

    Raises:
      CheckpointError: What is there, and what is needed.
    """
    source = getattr(config.sources, field)
    values = read_values(source)
    stage = values.get("stage", "encoder")
    if field not in ("language_model", stage):
        raise CheckpointError(
            f"config.sources.{field} is '{source}', which is a run of the stage '{stage}'; name a run of the stage "
            f"'{field}'."
        )
    for part in parts:
        if part == "visual_projection":  # A matrix; its size is checked with all the others' when the model is built.
            continue
        ours, theirs = getattr(config.model, part), values["model"].get(part)
        there = to_dict(theirs and build(type(ours), theirs, f"config.model.{part}"))
        lines = differences(there, to_dict(ours), f"config.model.{part}")
        if lines:
            raise CheckpointError(
                f"config.sources.{field} '{source}' was made with another {part}: {'; '.join(lines)} (there -> here); "
                f"set config.model.{part} to what is there, or name another run."
            )


def keep_provenance(workdir: Path, origins: dict[str, Origin]) -> None:
    """Records the origins of a run's parts when it starts; a resumed run has them already."""
    if not has_checkpoint(workdir):
        write_provenance(workdir, origins)


def has_checkpoint(workdir: Path) -> bool:
    """Returns True when a run can resume; until then it may start with other parts."""
    return (workdir / "checkpoints").is_dir() and Store(workdir / "checkpoints", read_only=True).latest() is not None


def _load(source: str, part: str, config: ChatTrainConfig) -> tuple[dict[str, Any], Origin]:
    return load_part(source, part, config.sources.which)
