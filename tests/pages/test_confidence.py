"""The reliability diagram and the table of calibration, on figures written out."""

from hilight_jax.pages.confidence import confidence_section, reliability_diagram

BEFORE = [
    {"questions": 25, "confidence": 0.5, "right": 0.0},
    {"questions": 75, "confidence": 1.0, "right": 1.0},
]
GROUP = {
    "questions": 100, "right": 0.611, "confidence_before": 0.822, "confidence_after": 0.633, "error_before": 0.244,
    "error_after": 0.045, "error_if_calibrated": 0.031,
}  # fmt: skip
RESULT = {
    "name": "validation",
    "calibration": {
        "temperature": 2.0,
        "fitted_on": {"questions": 98, "clips": 13},
        "measured_on": {"questions": 100, "clips": 12},
        "overall": GROUP,
        "types": {"first_hit": {**GROUP, "questions": 40}},
        "bins": {"before": BEFORE, "after": BEFORE[1:]},
    },
}


def test_bins_are_circles_whose_area_is_their_share_of_the_answers():
    diagram = reliability_diagram("Sure & right", {"temperature 1": BEFORE})
    # The square of the axes goes from (44, 12) to (328, 300); 0.5 sure and never right is the middle of its foot.
    assert 'cx="186.0" cy="300.0" r="8.0"' in diagram  # A quarter of the answers, half the largest radius, 16.
    assert 'cx="328.0" cy="12.0" r="13.9"' in diagram
    assert "<title>25 answers, 0.50 sure, 0.00 right</title>" in diagram
    assert 'class="rule" x1="44.0" y1="300.0" x2="328.0" y2="12.0"' in diagram
    assert "<figcaption>Sure &amp; right</figcaption>" in diagram and diagram.count("<polyline") == 1


def test_no_answers_make_no_diagram():
    assert reliability_diagram("Empty", {"temperature 1": []}) == ""


def test_the_section_has_every_kind_and_says_what_was_fitted_on_what():
    html = confidence_section([{"name": "unseen", "calibration": None}, RESULT, {"name": "of version 0.1.0"}])
    assert html.count("<svg") == 1 and html.count("<polyline") == 2
    for figure in ("0.611", "0.822", "0.633", "0.244", "<strong>0.045</strong>", "0.031", "<td>40</td>", "first hit"):
        assert figure in html
    assert "temperature 1, error 0.244" in html and "temperature 2.00, error 0.045" in html
    assert "Temperature 2.00 was fitted on 98 answers about 13 clips; all figures are of 100 answers about 12" in html


def test_without_a_calibration_there_is_no_section():
    assert confidence_section([{"name": "unseen", "calibration": None}]) == ""
