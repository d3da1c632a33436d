"""The page of claims from tables that are made up."""

import json

import pytest

from hilight_jax import ablate
from hilight_jax.benchmarks.ablations import TABLES
from hilight_jax.benchmarks.claims_page import write_claims
from hilight_jax.benchmarks.report_claims import CLAIMS
from hilight_jax.core.errors import UserError

OF_NAME = {table.name: table for table in TABLES.values()}


@pytest.fixture
def data(tmp_path):
    """Tables in which every row that some claim puts above another has 0.8, and else 0.3, with two seeds each."""
    better = {(claim.table, one.better) for claim in CLAIMS for one in claim.comparisons}
    for name in {claim.table for claim in CLAIMS}:
        rows = []
        for row in OF_NAME[name].rows:
            value = 0.8 if (name, row) in better else 0.3
            figures = {one.figure: value for claim in CLAIMS for one in claim.comparisons}
            figures |= {"loss": 1 - value}
            runs = [{"seed": seed, "date": "2026-12-01 10:00", **figures, "types": {}} for seed in (0, 1)]
            rows.append({"name": row, "configs": [], "runs": runs})
        table = {"table": name, "date": "2026-12-01", "command": "made up", "rows": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(table))
    return tmp_path


def test_claims_are_about_rows_that_are_trained():
    for claim in CLAIMS:
        for one in claim.comparisons:
            assert {one.better, one.worse} <= OF_NAME[claim.table].rows.keys(), claim.title


def test_the_page_has_a_verdict_of_every_claim_and_every_run(data, capsys):
    assert ablate.main(["claims", "--data", str(data), "--to", str(data)]) == 0
    said = capsys.readouterr().out.splitlines()
    page = (data / "claims.md").read_text()
    assert len(said) == len(CLAIMS) and "Contrast across clips: holds" in said
    for claim, line in zip(CLAIMS, said, strict=True):
        assert f"| {claim.title} | {line.rpartition(': ')[2]} |" in page and f"\n## {claim.title}\n" in page
    assert "| pointing | the demo: across clips, one query per object: 0.800 |" in page
    assert "| +0.500 | +0.500 to +0.500 | 2 and 2, clips left out | holds |" in page
    assert "made up" in page and "ablate losses --publish docs/data/controls.json" in page
    chart = (data / "claims.svg").read_text()
    assert chart.startswith("<svg xmlns") and chart.count("<circle") == sum(len(claim.comparisons) for claim in CLAIMS)


def test_what_was_not_run_is_said_and_not_drawn(data):
    table = json.loads((data / "controls.json").read_text())
    table["rows"] = [row for row in table["rows"] if row["name"] != "no local loss"]
    (data / "controls.json").write_text(json.dumps(table))
    said = write_claims(data, data)
    assert said[0] == "Spatial correspondence after the encoder: not run"
    assert "no local loss | | | | not run |" in (data / "claims.md").read_text()


def test_a_missing_table_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(UserError, match=r"controls.json' is missing; make it with: python -m .* losses --publish"):
        write_claims(tmp_path, tmp_path)
