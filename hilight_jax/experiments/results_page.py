"""Pages of results: parts of README.md and docs/*.md, and the charts beside them, from published tables of runs.

Nothing is trained or measured. A page is written by hand but for its parts, see ``marked_parts``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import write_bytes
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.claims import compare, verdict
from hilight_jax.experiments.marked_parts import part_names, refresh
from hilight_jax.experiments.published import read_published
from hilight_jax.experiments.report_claims import CLAIMS
from hilight_jax.experiments.results_charts import draw_charts
from hilight_jax.experiments.results_tables import Tested, write_parts
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
    pages = {path: _read_page(path) for path in files}
    if not any(map(part_names, pages.values())):
        raise UserError(f"'{root}' has no README.md or docs/*.md with a part of results; name the project with --root.")
    tables = {name: _read(root / DATA / f"{name}.json", name) for name in TABLES_SHOWN}
    tested = [Tested(claim, [compare(tables[claim.table], one) for one in claim.comparisons]) for claim in CLAIMS]
    parts, charts = write_parts(tables, tested), root / CHARTS
    written = {path: refresh(page, parts, str(path)).encode() for path, page in pages.items()}
    drawn = {f"{name}.svg": chart.encode() for name, chart in draw_charts(tables, tested).items()}
    drawn[f"{MAPS}.gif"] = draw_grid(read_maps(root / DATA / f"{MAPS}.npz"))
    charts.mkdir(parents=True, exist_ok=True)
    for path, content in (written | {charts / name: chart for name, chart in drawn.items()}).items():
        if not path.is_file() or path.read_bytes() != content:
            write_bytes(path, content)
    for chart in charts.glob("*.svg"):  # Of figures that are no longer published.
        if chart.name not in drawn:
            chart.unlink()
    return [f"{number}. {one.claim.title}: {verdict(one.differences)}" for number, one in enumerate(tested, 1)]


def _read_page(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 ({error}); store it as such.") from error


def _read(path: Path, name: str) -> Mapping[str, Any]:
    if (table := read_published(path, name)) is None:
        verb = next(key for key, table in TABLES.items() if table.name == name)
        raise UserError(f"'{path}' is missing; make it with: python -m hilight_jax.ablate {verb} --publish {path}")
    return table
