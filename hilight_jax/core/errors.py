"""Errors that a command prints as one sentence: what, which value, what is allowed, what to do."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can mend; commands print it without a traceback and exit with ``exit_code``."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration key or value is not allowed."""


class DataError(UserError):
    """A video, caption, manifest or dataset cannot be used."""


class CheckpointError(UserError):
    """A checkpoint or working directory cannot be read, written or continued."""


class UnreadableCheckpoint(CheckpointError):
    """The files of a checkpoint are damaged or incomplete; an earlier checkpoint may be intact."""


class TrainingError(UserError):
    """Training cannot continue; the last good checkpoint is kept."""


class DistributedError(UserError):
    """The processes of a run did not connect, or differ in code, configuration or versions."""


class MissingProcesses(DistributedError):
    """Other processes of a run did not arrive in time or have ended; a retry may find them."""

    exit_code = 1


class Interrupted(Exception):
    """The run was asked to stop; its state is saved, and the same command resumes it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the known name closest to ``name``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
