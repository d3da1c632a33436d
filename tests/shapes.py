"""Checks jaxtyping annotations, which cost nothing in production, where they are never checked."""

from collections.abc import Callable

from beartype import beartype
from jaxtyping import jaxtyped


def check_shapes(function: Callable) -> Callable:
    """Checks the annotations of a public function at every call."""
    return jaxtyped(typechecker=beartype)(function)
