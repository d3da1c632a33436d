"""A page of the pieces that a search found: a strip of frames each, with file, time and score."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from hilight_jax.archive.searching import Hit
from hilight_jax.core.atomic_files import write_bytes
from hilight_jax.core.progress import timestamp
from hilight_jax.pages import page


def write_results(path: Path, asked: str, uri: str, hits: Sequence[Hit]) -> None:
    """Writes the page as one file; an address behind ``#t=`` opens a film at the time that was found."""
    rows = [[str(rank), _strip(hit), _place(hit), page.share(hit.score, 3)] for rank, hit in enumerate(hits, 1)]
    body = [
        f"<h1>{page.text(asked)}</h1>",
        page.note(f"{len(hits)} pieces of {uri}, the best first; each strip shows frames from its first to its last."),
        page.table(["", "frames", "film and time", "score"], rows),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, page.render(asked, body).encode())


def _strip(hit: Hit) -> str:
    content = base64.b64encode(hit.strip).decode()
    return f'<img alt="frames of the piece" src="data:image/jpeg;base64,{content}">'


def _place(hit: Hit) -> str:
    time = f"{timestamp(hit.start)} – {timestamp(hit.end)}"
    stroke = "" if hit.stroke is None else f", struck at {timestamp(hit.stroke)}"
    address = f"{Path(hit.film).as_uri()}#t={hit.start:.1f},{hit.end:.1f}"
    name = page.text(os.path.basename(hit.film))
    return (
        f'<a href="{page.text(address)}" title="{page.text(hit.film)}">{name}</a><br>'
        f"{page.text(time)}{page.text(stroke)}<br>{page.text(hit.kind)}"
    )
