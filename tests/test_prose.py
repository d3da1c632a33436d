"""Docstrings of the package begin with a noun or a verb; `make lint` runs this file."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
OPENERS = ("What", "Whether", "How", "Where", "Which")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_no_docstring_opens_with_a_question_word():
    places = [*(ROOT / "hilight_jax").rglob("*.py"), *(ROOT / "configs").glob("*.py")]
    found = [place for path in sorted(places) for place in question_openers(path)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""What a run needs."""', 1),
        ('class A:\n  """Whether it is open."""', 2),
        ('def f():\n  """\n  How it ends."""', 2),
        ('async def f():\n  """Where it goes."""', 2),
    ],
)
def test_an_opener_is_found_by_its_line(tmp_path, source, line):
    (tmp_path / "x.py").write_text(source)
    (found,) = question_openers(tmp_path / "x.py")
    assert f"x.py:{line}: " in found


def test_other_sentences_pass(tmp_path):
    (tmp_path / "x.py").write_text('"""Whatever is left."""\nA = "What"\n\n\ndef f():\n  """Returns it.\n\n  What."""')
    assert question_openers(tmp_path / "x.py") == []


def question_openers(path: pathlib.Path) -> list[str]:
    """Lists the docstrings of a file that begin with one of ``OPENERS``, as ``path:line: first line``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        docstring = (ast.get_docstring(node) or "") if isinstance(node, DOCUMENTED) else ""
        if docstring.partition(" ")[0] in OPENERS:
            where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            found.append(f"{where}:{node.body[0].lineno}: {docstring.splitlines()[0]}")
    return found
