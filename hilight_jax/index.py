"""Indexes an archive of films: ``python -m hilight_jax.index FILMS --to INDEX``.

FILMS is a directory, or a file with a path on each line. Every shot (or window) is embedded and stored with its times,
a strip of frames and its origin; ``python -m hilight_jax.search`` finds it. Started again after any end, the command
goes on with the films that are not stored, and reads again those that have changed. Damaged films are stored as far as
they go, and listed.
"""

import argparse
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hilight_jax.archive.building import Effort, Plan, Tally, fill, make_plan
from hilight_jax.archive.films import Listing, list_films, share_of
from hilight_jax.archive.searching import prepare
from hilight_jax.archive.store import About, Store, create_store, find_store, writing
from hilight_jax.core import commands
from hilight_jax.core.errors import Interrupted, UserError
from hilight_jax.data.films.pieces import parse_rule

# Worker processes import this module too; what needs jax is imported in functions.
DEFAULT_MODEL = "billiards-mini"
_END_SECONDS = 7 * 86400.0  # Hosts finish their shares at different times.


def main(argv: list[str] | None = None) -> int:
    """Indexes this process's share of the films; prints the counts and the damaged films."""
    arguments = _parser().parse_args(argv)
    _check(arguments)
    from hilight_jax.core import distributed

    distributed.initialize(
        address=arguments.coordinator_address, count=arguments.num_processes, index=arguments.process_id
    )
    import jax

    stop = _Stop(f"stopped; the committed films stay in {arguments.to}, and the same command goes on.")
    before = signal.signal(signal.SIGTERM, stop)
    alone = contextlib.ExitStack()
    try:
        uri = arguments.to if "://" in arguments.to else os.path.abspath(arguments.to)
        listing = distributed.together("listing the films", lambda: list_films(arguments.films))
        encode, about = _load(arguments, find_store(uri))
        distributed.agree({"model": about.fingerprint, "pieces": about.rule, "films": _digest(listing)})
        alone.enter_context(writing(uri, jax.process_index()))
        store = distributed.together("opening the index", lambda: create_store(uri, about), _END_SECONDS)
        films = share_of(listing.films, jax.process_index(), jax.process_count())
        plan = make_plan(store, films, arguments.retry)
        _print_plan(plan, listing)
        effort = Effort(arguments.workers, arguments.time_limit, arguments.batch_size)
        with stop.between_films():
            tally = fill(store, plan, encode, effort, lambda: stop.asked)
        distributed.exchange("finishing the shares", 0, _END_SECONDS)
        if jax.process_index() == 0:
            prepare(store, distributed.log)
        _print_tally(tally, store, uri, arguments.show)
        if arguments.json:
            commands.print_json(_summary(tally, plan, store, listing))
    finally:
        alone.close()
        signal.signal(signal.SIGTERM, before)
    return 0


class _Stop:
    """Ends the run on SIGTERM: at once, or after a commit while films are read."""

    def __init__(self, sentence: str):
        self.asked, self._at_once, self._sentence = False, True, sentence

    def __call__(self, number: int, frame: Any) -> None:
        self.asked = True
        if self._at_once:
            raise Interrupted(self._sentence)

    @contextlib.contextmanager
    def between_films(self) -> Iterator[None]:
        """Leaves it to the block to end in time, and then ends the run."""
        self._at_once = False
        yield
        self._at_once = True
        if self.asked:
            raise Interrupted(self._sentence)


def _load(arguments: argparse.Namespace, store: Store | None) -> tuple[Callable[[np.ndarray], np.ndarray], About]:
    """Loads the model, by default that of the index; returns its encoder and the description of an index made by it."""
    from hilight_jax import api
    from hilight_jax.runs.provenance import fingerprint
    from hilight_jax.stages.trained_encoder import on_local_devices

    checkpoint = arguments.checkpoint or (store.about.checkpoint if store else DEFAULT_MODEL)
    encoder = api.load(checkpoint, arguments.which).encoder
    data = encoder.config.data
    about = About(
        fingerprint=fingerprint(encoder.params),
        rule=store.about.rule if store and arguments.windows is None else parse_rule(arguments.windows),
        num_frames=data.num_frames,
        image_size=data.image_size,
        width=encoder.config.model.embed_dim,
        checkpoint=os.path.abspath(checkpoint) if os.path.exists(checkpoint) else checkpoint,
        step=encoder.step,
    )
    return on_local_devices(encoder).embed_video, about


def _digest(listing: Listing) -> str:
    """Names the films for a comparison between hosts, which must see the same."""
    return f"{len(listing.films)} of {sum(max(film.size, 0) for film in listing.films)} bytes"


def _check(arguments: argparse.Namespace) -> None:
    for name in ("workers", "batch_size"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} is {getattr(arguments, name)}, but must be at least 1.")
    if not arguments.time_limit > 0:
        raise UserError(f"--time_limit is {arguments.time_limit:g}, but must be above 0 seconds.")
    if arguments.windows is not None:
        parse_rule(arguments.windows)


def _print_plan(plan: Plan, listing: Listing) -> None:
    print(
        f"{len(plan.new)} new films, {len(plan.changed)} changed, {len(plan.done)} indexed before, "
        f"{len(plan.known_bad)} known to be unreadable (--retry reads them again)",
        flush=True,
    )
    if listing.left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(listing.left_out.items())[:8])
        print(f"left out, because they are no films: {kinds}", flush=True)
    for sentence in listing.unread:
        print(sentence, flush=True)


def _print_tally(tally: Tally, store: Store, uri: str, show: int) -> None:
    print(
        f"{tally.films} films, {tally.pieces} pieces, {tally.seconds / 3600:.2f} hours in {tally.elapsed:.0f} s: "
        f"{tally.times_real_time:.1f} times real time, {tally.seconds / max(tally.cpu_seconds, 1e-9):.1f} a core; "
        f"{tally.replaced} replaced, {tally.same} with the same content"
    )
    for path in tally.changing[:show]:
        print(f"  left for the next run, because it was written while it was read: {path}")
    if tally.problems:
        print(f"damaged: {len(tally.problems)}")
    for path, problem in sorted(tally.problems.items())[:show]:
        print(f"  {path}: {problem}")
    if len(tally.problems) > show:
        print(f"  and {len(tally.problems) - show} more (--show {len(tally.problems)})")
    print(f"{uri} holds {store.count()} pieces; search: python -m hilight_jax.search {uri} 'the red ball is potted'")


def _summary(tally: Tally, plan: Plan, store: Store, listing: Listing) -> dict[str, Any]:
    damaged = {path: film.problem for path, film in store.films().items() if film.problem}
    damaged |= {path: film.problem for path, film in store.unreadable().items()}
    return {
        "index": store.uri,
        "films": tally.films,
        "replaced": tally.replaced,
        "pieces": tally.pieces,
        "film_seconds": tally.seconds,
        "seconds": tally.elapsed,
        "times_real_time": tally.times_real_time,
        "cpu_seconds": tally.cpu_seconds,
        "indexed_before": len(plan.done),
        "same_content": tally.same,
        "left_for_next_run": tally.changing,
        "left_out": dict(listing.left_out),
        "unread_directories": listing.unread,
        "pieces_of_index": store.count(),
        "damaged": dict(sorted(damaged.items())),
    }


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("index", __doc__)
    add = parser.add_argument
    add(
        "films", metavar="FILMS", help="a directory of films, or a file with a path (or JSON with 'video') on each line"
    )
    add("--to", required=True, metavar="INDEX", help="directory of the index, or an object store: s3://BUCKET/PATH")
    add("--checkpoint", default="", metavar="MODEL", help="a run, or a packed model (default: that of the index, or "
        f"{DEFAULT_MODEL})")  # fmt: skip
    add("--which", choices=("best", "latest"), default="latest", help="which of its checkpoints")
    add("--windows", metavar="SECONDS[,STRIDE]", help="windows of one length in place of shots, for films that are no "
        "billiards")  # fmt: skip
    add(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="processes that decode (default: one per core)",
    )
    add("--batch_size", type=int, default=16, help="pieces that are encoded at a time (default 16)")
    add("--time_limit", type=float, default=120.0, help="seconds after which a film that is not read on is given up")
    add("--retry", action="store_true", help="read films again that could not be read")
    add("--show", type=int, default=10, help="damaged films to print (default 10)")
    several = parser.add_argument_group("several hosts", "found out on Cloud TPU; each indexes its share of the films")
    several.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
    several.add_argument("--num_processes", type=int, help="of the whole run")
    several.add_argument("--process_id", type=int, help="which of them this is, from 0")
    return parser


if __name__ == "__main__":
    from hilight_jax.core.distributed import leaving_at_once

    with leaving_at_once():
        commands.run(main)
