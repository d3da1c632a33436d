"""Pages of results: parts of README.md and docs/*.md, and the charts beside them, from published tables of runs.

Nothing is trained or measured. A page is written by hand but for its parts, see ``marked_parts``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import write_bytes
from hilight_jax.core.errors import UserError
from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.claims import compare, verdict
from hilight_jax.experiments.marked_parts import part_names, refresh
from hilight_jax.experiments.published import read_published
from hilight_jax.experiments.report_claims import CLAIMS
from hilight_jax.experiments.results_charts import draw_charts
from hilight_jax.experiments.results_tables import write_parts
from hilight_jax.experiments.word_map_grid import draw_grid, read_maps

DATA, CHARTS, MAPS = "docs/data", "docs/charts", "word-maps"
TABLES_SHOWN = ("demo", "controls", "medium", "connectors")


def write_results(root: Path) -> list[str]:
    """Writes the parts of all pages of a project and their charts; returns a line for each claim.

    Args:
      root: Folder with README.md, docs/ and, in docs/data/, the published tables and maps.

    Raises:
      UserError: A table is missing, with the command that makes it, or no page has a part.
      DataError: A table or a page is damaged.
    """
    files = [path for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))) if path.is_file()]
    pages = {path: path.read_text(encoding="utf-8") for path in files}
    if not any(map(part_names, pages.values())):
        raise UserError(f"'{root}' has no README.md or docs/*.md with a part of results; name the project with --root.")
    tables = {name: _read(root / DATA / f"{name}.json", name) for name in TABLES_SHOWN}
    found = [(claim, [compare(tables[claim.table], one) for one in claim.comparisons]) for claim in CLAIMS]
    charts = root / CHARTS
    charts.mkdir(parents=True, exist_ok=True)
    for name, chart in draw_charts(tables, found).items():
        write_bytes(charts / f"{name}.svg", chart.encode())
    draw_grid(read_maps(root / DATA / f"{MAPS}.npz"), charts / f"{MAPS}.gif")
    parts = write_parts(tables, found)
    for path, page in pages.items():
        if (new := refresh(page, parts, str(path))) != page:
            write_bytes(path, new.encode())
    return [f"{claim.title}: {verdict(differences)}" for claim, differences in found]


def _read(path: Path, name: str) -> Mapping[str, Any]:
    if (table := read_published(path, name)) is None:
        verb = next(key for key, table in TABLES.items() if table.name == name)
        raise UserError(f"'{path}' is missing; make it with: python -m hilight_jax.ablate {verb} --publish {path}")
    return table
