"""Every way of checking a change runs the same make targets."""

import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_the_workflow_runs_the_targets_of_ci():
    targets = re.findall(r"^make ([\w-]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]["make"]
    assert job["strategy"]["matrix"]["target"] == targets
    assert job["steps"][-1] == {"run": "make ${{ matrix.target }}"}
    exported = re.search(r"^export (.+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert {name: str(value) for name, value in job["env"].items()} == dict(
        pair.split("=") for pair in exported.split()
    )


def test_the_hook_runs_lint():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]] == ["make lint"]
