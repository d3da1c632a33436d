"""Searches an index of films: ``python -m hilight_jax.search INDEX "the red ball is potted in the top left pocket"``.

A text, a video (``--video``), or both: with both, the score is the mean of the two cosines. Prints the file, the time
and the score of the pieces that fit best; ``--page`` writes them as a page with a strip of frames each.
"""

import argparse
import os
from pathlib import Path

from hilight_jax import api
from hilight_jax.archive.results_page import write_results
from hilight_jax.archive.searching import Hit, combine, search
from hilight_jax.archive.store import Store, check_model, open_store
from hilight_jax.core import commands
from hilight_jax.core.errors import CheckpointError, DataError
from hilight_jax.core.progress import timestamp
from hilight_jax.runs.provenance import fingerprint


def main(argv: list[str] | None = None) -> int:
    """Prints the pieces that fit best."""
    arguments = _parser().parse_args(argv)
    if not arguments.text and not arguments.video:
        raise DataError("there is nothing to search for; give a text, --video FILE, or both.")
    store = open_store(arguments.index)
    model = load_model(store, arguments.checkpoint, arguments.which)
    query = combine(
        model.encode_text(arguments.text) if arguments.text else None,
        model.encode_video(arguments.video) if arguments.video else None,
    )
    hits = search(store, query, arguments.top, arguments.exact, strips=bool(arguments.page))
    asked = " and ".join(filter(None, (arguments.text, arguments.video and os.path.basename(arguments.video))))
    width = max((len(hit.film) for hit in hits), default=0)
    for hit in hits:
        print(f"{hit.film:{width}}  {timestamp(hit.start)} - {timestamp(hit.end)}  {hit.score:.3f}")
    if not hits:
        print(f"{arguments.index} holds no piece yet.")
    if arguments.page:
        write_results(arguments.page, asked, arguments.index, hits)
        print(f"open {arguments.page}")
    if arguments.json:
        commands.print_json(
            {
                "index": arguments.index,
                "text": arguments.text or None,
                "video": arguments.video or None,
                "hits": [as_json(hit) for hit in hits],
            }
        )
    return 0


def load_model(store: Store, checkpoint: str, which: str) -> api.Model:
    """Loads the model that an index was made with, or the one that is named, and compares them.

    Raises:
      CheckpointError: It is gone.
      DataError: It is another.
    """
    named = checkpoint or store.about.checkpoint
    try:
        model = api.load(named, which)
    except CheckpointError as error:
        if checkpoint:
            raise
        raise CheckpointError(
            f"the index was made with '{named}', which cannot be loaded ({error}) Give its place by --checkpoint."
        ) from error
    check_model(store, fingerprint(model.encoder.params), f"step {model.encoder.step} of '{named}'")
    return model


def as_json(hit: Hit) -> dict[str, object]:
    """Returns a hit without its strip."""
    return {name: value for name, value in hit._asdict().items() if name != "strip"}


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("search", __doc__)
    add = parser.add_argument
    add("index", metavar="INDEX", help="directory of an index, or an object store: s3://BUCKET/PATH")
    add("text", nargs="?", default="", metavar="TEXT", help="a description of what to find")
    add("--video", default="", metavar="FILE", help="a video to find the like of")
    add("--top", type=int, default=10, help="pieces to print (default 10)")
    add("--exact", action="store_true", help="compare every piece, also where the index is large")
    add("--page", type=Path, metavar="FILE.html", help="write a page with a strip of frames of each")
    add("--checkpoint", default="", metavar="MODEL", help="the model (default: the one that made the index)")
    add("--which", choices=("best", "latest"), default="latest", help="which of its checkpoints")
    return parser


if __name__ == "__main__":
    commands.run(main)
