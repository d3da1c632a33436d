"""What holds for every launch script."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.conftest import LAUNCH, ROOT

SCRIPTS = sorted(LAUNCH.rglob("*.sh"))
SHELLCHECK = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")


def test_shellcheck_finds_nothing():
    if SHELLCHECK is None:
        pytest.skip("shellcheck is not installed; the extra `test` brings it")
    found = subprocess.run([SHELLCHECK, "-x", "-P", ROOT, *SCRIPTS], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout == "" and found.returncode == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_that_is_run_stops_at_the_first_error(script):
    text = script.read_text()
    assert text.startswith("#!") == ("\nset -euo pipefail\n" in text)
    assert text.startswith("#!") or "Sourced, not run" in text


@pytest.mark.parametrize("script", ["tpu.sh", "gke/jobset.sh", "gpu.sh"])
def test_help_names_every_option_and_its_variable(bench, script):
    shown = bench.run(script, "--help")
    text = (LAUNCH / script).read_text()
    assert shown.returncode == 0 and shown.stdout.startswith(f"usage: launch/{script}")
    for variable in re.findall(r"\$\{(HILIGHT_\w+):-", text):
        assert variable in shown.stdout and f"--{variable[8:].lower().replace('_', '-')} " in shown.stdout
