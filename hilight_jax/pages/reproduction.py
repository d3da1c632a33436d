"""What a run left behind for its report, and the section that says how to get it all again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.pages import page
from hilight_jax.pages.page import text
from hilight_jax.pages.results import read_result


def read_evaluations(workdir: Path) -> list[dict[str, Any]]:
    """The results of `evaluate`, the held-out examples of the training world first."""
    results = [read_result(path) for path in sorted((workdir / "evaluations").glob("*.json"))]
    return sorted(results, key=lambda result: (result["split"] != "validation", result["name"]))


def section(
    workdir: Path,
    config: Mapping[str, Any],
    evaluations: Sequence[Mapping[str, Any]],
    overrides: Sequence[str] | None,
) -> str:
    """The commands that made the run and its figures, and its whole configuration.

    Args:
      workdir: the working directory of the run.
      config: its `config.json`.
      evaluations: its results; each has 'command'.
      overrides: options that turn the preset's own configuration into that of the run; None when they are not known.
    """
    file = f"configs/{config.get('stage', 'encoder')}.py"
    spec = f"{file}:{config['preset']}" if config.get("preset") else file
    options = shlex.join(["--config", spec, "--workdir", str(workdir), *(overrides or ())])
    lines = [f"python -m hilight_jax.train {options}", *(result["command"] for result in evaluations)]
    lines.append(shlex.join(["python", "-m", "hilight_jax.report", str(workdir)]))
    unknown = f"'{spec}' is no preset here: the run's own config file and options are needed, see the configuration."
    pretty = text(json.dumps(config, indent=2))
    return page.section(
        "How to get this again",
        f"<pre>{text(chr(10).join(lines))}</pre>",
        page.note(unknown) if overrides is None else "",
        f"<details><summary>The whole configuration</summary><pre>{pretty}</pre></details>",
    )
