"""Sources of an evaluation, and the names of their results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilight_jax.core.errors import UserError


def specifications(config: Any, data: str | None, split: str | None) -> list[str]:
    """Lists the sources to evaluate.

    Args:
      config: the run's configuration, read when `data` is None.
      data: a source, or a stored dataset's directory when `split` is given.
      split: the only split to evaluate.

    Raises:
      UserError: the run's configuration names no validation clips.
    """
    if data is not None:
        return [_split_of(data, split) if split else data]
    own = [source for source in (config.data.validation, config.data.unseen) if source]
    if not own:
        raise UserError("the run's config.data.validation names no clips; name a source with --data.")
    place, comma, options = own[0].partition(",")
    return [_split_of(f"{place.rpartition('/')[0]}{comma}{options}", split)] if split else own


def _split_of(specification: str, split: str) -> str:
    """``KIND:DIRECTORY[,OPTIONS]`` as ``KIND:DIRECTORY/SPLIT[,OPTIONS]``."""
    directory, comma, options = specification.partition(",")
    return f"{directory.rstrip('/')}/{split}{comma}{options}"


def source_name(specification: str) -> str:
    """The name of a source's result: its split, or its file's name without the suffix."""
    return Path(specification.partition(",")[0].rpartition(":")[2]).stem


def check_names(specifications: Sequence[str], name: str | None) -> None:
    """Refuses results that would overwrite each other.

    Raises:
      UserError: one name for several sources, or sources of equal names.
    """
    if name and len(specifications) > 1:
        raise UserError(
            f"--name {name} would give {' and '.join(specifications)} one file; evaluate one at a time with --split or "
            "--data, or leave --name out."
        )
    names = [source_name(specification) for specification in specifications]
    if len(set(names)) < len(names):
        raise UserError(
            f"the results of {' and '.join(specifications)} would both be called {names[0]}; evaluate one at a time "
            "with --data and --name."
        )
