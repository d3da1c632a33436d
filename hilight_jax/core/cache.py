"""The folder that things are kept in between runs of a command, which may be deleted at any time."""

import os
from pathlib import Path

CACHE = "HILIGHT_CACHE"


def cache_directory() -> Path:
    """``$HILIGHT_CACHE``, or else ``hilight_jax`` in the user's folder of caches."""
    given = os.environ.get(CACHE)
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hilight_jax"
