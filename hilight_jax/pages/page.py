"""Elements of HTML pages: each page is one file with its styles inside, and loads no script and no other host."""

import html
import importlib.resources
from collections.abc import Iterable, Sequence

MISSING = "not run"


def render(title: str, body: Iterable[str]) -> str:
    """A whole page around HTML, light or dark as the reader's device is."""
    style = importlib.resources.files("hilight_jax.pages").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """Any value as text, escaped for HTML and its attributes."""
    return html.escape(str(value), quote=True)


def section(title: str, *parts: str) -> str:
    """A heading with HTML below it."""
    return f"<section>\n<h2>{text(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def table(header: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    """A table of HTML cells that scrolls sideways on a phone; a None cell is shown as not run."""
    head = "".join(f"<th>{text(name)}</th>" for name in header)
    lines = []
    for row in rows:
        cells = (f'<td class="missing">{MISSING}</td>' if cell is None else f"<td>{cell}</td>" for cell in row)
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{_join(lines)}</tbody></table></div>'


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """Big figures: (name, figure, figures to compare it with)."""
    cards = (
        f'<div class="tile"><span>{text(n)}</span><b>{text(v)}</b><span>{text(c)}</span></div>' for n, v, c in items
    )
    return f'<div class="tiles">\n{_join(cards)}</div>'


def note(words: str) -> str:
    """A quieter paragraph."""
    return f'<p class="note">{text(words)}</p>'


def share(value: float | None, digits: int = 2) -> str:
    """A share as 0.85; a dash when there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def _join(lines):
    return "".join(f"{line}\n" for line in lines)
