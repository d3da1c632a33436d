"""Runs every golden case of a directory by its sidecar's kind: ``HILIGHT_GOLDENS=DIR pytest tests/parity``.

Default directory: ``tests/goldens``. A kind is a module of ``tests/parity/kinds`` with ``check(case)``; an unknown kind
fails. Every case runs twice: in float64 (``jax_enable_x64``, inside this suite only) and in float32.
"""

import importlib
import importlib.util
import os
import pathlib

import jax
import pytest

from tests.parity.case import Case

GOLDENS = pathlib.Path(os.environ.get("HILIGHT_GOLDENS", pathlib.Path(__file__).parents[1] / "goldens"))
SIDECARS = sorted(GOLDENS.glob("*.json"))


def test_the_directory_holds_goldens():
    """An empty or mistyped HILIGHT_GOLDENS must not pass in silence."""
    assert SIDECARS, f"{GOLDENS} holds no golden case (*.json); set HILIGHT_GOLDENS to a directory that does."


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sidecar", SIDECARS, ids=lambda path: path.stem)
def test_case(sidecar, dtype):
    """Every tensor of the case is matched by a rule of its kind, and equal."""
    case = Case(sidecar, dtype)
    module = f"{__package__}.kinds.{case.kind}"
    if importlib.util.find_spec(module) is None:
        pytest.fail(f"{sidecar.name} is of kind '{case.kind}', which no module of tests/parity/kinds checks.")
    with jax.enable_x64(dtype == "float64"):
        importlib.import_module(module).check(case)
    case.finish()
