"""Measured evidence on a report."""

from hilight_jax.pages.measured_evidence import evidence_section

GROUP = {
    "questions": 60, "share": 0.661, "share_interval": [0.62, 0.7], "area": 0.057, "other_clip": 0.06, "changed": 0.669,
    "changed_random": 0.078, "changed_other_balls": 0.117, "ratio": 8.54, "ratio_interval": [6.1, None], "hidden": 5.2,
}  # fmt: skip
EVIDENCE = {
    "questions": 60, "clips": 12, "per_kind": 60, "min_hidden": 4, "skipped": [], "overall": GROUP,
    "types": {"first_hit": {**GROUP, "ratio": None, "ratio_interval": [None, None], "other_clip": None}},
}  # fmt: skip


def test_evidence_stands_beside_its_controls():
    html = evidence_section([{"name": "a<b", "evidence": EVIDENCE}, {"name": "unseen"}])
    assert "<h3>a&lt;b</h3>" in html and "unseen" not in html
    first, whole = (
        part.split("</tr>")[0] for part in (html.split("<td>first hit</td>")[1], html.split("all questions")[1])
    )
    for figure in ("0.661", "0.62–0.70", "0.057", "0.060", "0.669", "0.078", "0.117", "<strong>8.5", "6.1–?", "60"):
        assert figure in whole
    assert "<td>–</td>" in first and "<strong>–</strong> <small>?–?</small>" in first
    assert "about 12 clips; 5.2 patches of a frame are hidden" in html


def test_results_without_it_have_no_section():
    assert evidence_section([{"name": "validation"}]) == ""
