"""Evaluates an encoder's checkpoint: on sources of clips, and on annotated frames of anybody's videos."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.checkpoints.store import Which
from hilight_jax.core import trees
from hilight_jax.core.cache import cache_directory
from hilight_jax.core.errors import UserError
from hilight_jax.data.films.pieces import parse_rule
from hilight_jax.data.sources import open_by_kind, open_source
from hilight_jax.evals.annotated_places import PlacesSource, evaluate_places, places_table
from hilight_jax.evals.encoder_evaluation import evaluate_encoder, map_levels
from hilight_jax.evals.film_moments import MatchesSource, Ordered, evaluate_moments, moments_table
from hilight_jax.evals.result_tables import encoder_tables
from hilight_jax.ops.word_scores import WORD_WEIGHT
from hilight_jax.stages.finders import EncoderFinder
from hilight_jax.stages.stage import EvaluationOptions
from hilight_jax.stages.trained_encoder import TrainedEncoder, load_encoder
from hilight_jax.stages.watched_films import watch


class EncoderEvaluator:
    """Retrieval and grounding of an encoder's checkpoint, or pointing on annotated frames; see ``Evaluator``."""

    kind = "an encoder"
    options = frozenset({"similarity", "word_weight", "shortlist", "shuffle_positions", "zoom"})

    def __init__(self, workdir: Path, which: Which):
        """Loads the checkpoint."""
        self._workdir = workdir
        self._encoder = load_encoder(workdir, which)
        self.config, self.step = self._encoder.config, self._encoder.step

    def evaluate(self, specification: str, options: EvaluationOptions) -> dict[str, Any]:
        """Scores all clips of a source, all places of an annotation, or all strokes of films of matches.

        Raises:
          UserError: An option does not fit the source.
        """
        if specification.startswith("points:"):
            return self._evaluate_places(specification, options)
        if specification.startswith("matches:"):
            return self._evaluate_moments(specification, options)
        if options.zoom is not None:
            raise UserError("--zoom is about annotated frames; give --data points:FILE,videos=DIR, or leave it out.")
        source, encoder = open_source(specification), self._encoder
        if options.shuffle_positions:
            encoder = TrainedEncoder(encoder.config, shuffle_positions(encoder.params), encoder.step)
        result = evaluate_encoder(
            encoder,
            source,
            options.batch_size,
            options.num_clips,
            options.similarity,
            show_progress=True,
            word_weight=WORD_WEIGHT if options.word_weight is None else options.word_weight,
            shortlist=options.shortlist,
        )
        return {"map_levels": map_levels(self._encoder), "shuffled": options.shuffle_positions} | result

    def table(self, result: Mapping[str, Any]) -> str:
        """The figures as text for a terminal."""
        if "moments" in result:
            return moments_table(dict(result))
        return places_table(result) if "words" in result else encoder_tables(result)

    def _evaluate_moments(self, specification: str, options: EvaluationOptions) -> dict[str, Any]:
        self._refuse(self.options, options, "films of matches")
        source, encoder = open_by_kind(specification, {"matches": MatchesSource}, str), self._encoder

        def order(path: Path) -> Callable[[str], Sequence[Ordered]]:
            film = watch(encoder, path, cache_directory() / "films", parse_rule(source.windows))
            return lambda text: [Ordered(moment.start, moment.end) for moment in film.moments(encoder, text)]

        return evaluate_moments(source.films, order)

    def _refuse(self, names: Iterable[str], options: EvaluationOptions, what: str) -> None:
        """Refuses options that would have no effect."""
        given = [name for name in (*sorted(names), "num_clips") if getattr(options, name) not in (None, False)]
        if given:
            listed = ", ".join(f"--{name}" for name in given)
            raise UserError(f"{listed} would have no effect on {what}; leave it out.")

    def _evaluate_places(self, specification: str, options: EvaluationOptions) -> dict[str, Any]:
        self._refuse(self.options - {"zoom"}, options, "annotated frames")
        source = open_by_kind(specification, {"points": PlacesSource}, str)
        return evaluate_places(EncoderFinder(self._encoder, self._workdir), source.places, options.zoom or "auto")


def shuffle_positions(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the position embeddings of the video tower's patches in another, seeded order.

    What an encoder can still do it does not do by position: a patch keeps its place, and gets the embedding of another.
    """
    path = "vision/embeddings/position_embedding"
    flat = trees.flatten(params)
    table = np.asarray(flat[path])
    order = np.random.default_rng(0).permutation(len(table) - 1)
    return trees.unflatten({**flat, path: np.concatenate([table[:1], table[1:][order]])})
