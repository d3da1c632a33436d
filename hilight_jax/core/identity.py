"""The identity of a run: code, configuration and library versions, which must be the same on all of its hosts."""

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from hilight_jax.core.config import to_dict

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")


def run_identity(config: Any) -> dict[str, str]:
    """Returns hashes of the code and the configuration, and the library versions, for ``distributed.agree``."""
    return {"code": code_hash(), "configuration": _hash(json.dumps(to_dict(config))), "versions": library_versions()}


def code_hash() -> str:
    """Hashes the names and contents of all source files of the package."""
    root = Path(__file__).parents[1]
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def library_versions() -> str:
    """Lists the versions of the libraries that compute."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
