"""Pages of which some parts are written by a command."""

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.experiments.marked_parts import part_names, refresh

PAGE = "Above.\n\n<!-- part: one -->\nold\n<!-- end -->\n\nBetween.\n\n<!-- part: two-words -->\n<!-- end -->\n\nEnd.\n"


def test_parts_are_written_anew_and_the_rest_stays():
    assert part_names(PAGE) == ["one", "two-words"]
    new = refresh(PAGE, {"one": "first\n", "two-words": r"a \1 b", "unused": "x"}, "page.md")
    two = "<!-- part: two-words -->\na \\1 b\n<!-- end -->"
    assert new == f"Above.\n\n<!-- part: one -->\nfirst\n<!-- end -->\n\nBetween.\n\n{two}\n\nEnd.\n"
    assert refresh(new, {"one": "first", "two-words": r"a \1 b"}, "page.md") == new


def test_a_page_without_parts_stays():
    assert refresh("Nothing here.\n", {}, "page.md") == "Nothing here.\n"


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("<!-- part: one -->\nold\n", "'page.md' has a part without an end"),
        ("<!-- part: one -->\n<!-- part: two -->\n<!-- end -->\n", "'page.md' has a part without an end"),
        ("<!-- part: three -->\n<!-- end -->\n", "'page.md' has a part 'three'; parts are: one, two"),
    ],
)
def test_a_part_without_an_end_or_of_no_known_name_is_refused(page, sentence):
    with pytest.raises(DataError, match=sentence):
        refresh(page, {"one": "x", "two": "y"}, "page.md")
