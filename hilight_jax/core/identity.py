"""What must be the same on all hosts of a run, each as a short name: code, configuration, versions."""

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from hilight_jax.core.config import to_dict

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")


def fingerprints(config: Any) -> dict[str, str]:
    """The fingerprints of this process: code and configuration hashed, versions spelt out."""
    return {"code": code(), "configuration": _hash(json.dumps(to_dict(config)).encode()), "versions": versions()}


def code() -> str:
    """Hashes the names and contents of all source files of the package."""
    root = Path(__file__).parents[1]
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def versions() -> str:
    """Names the versions of the libraries that compute."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
