"""What the server has done, counted for Prometheus."""

import time
from collections.abc import Sequence

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hilight_jax.serving.engine import Piece, Ticket
from hilight_jax.serving.service import Service


class Metrics:
    """Counters of one server."""

    def __init__(self, service: Service):
        """Watches a service."""
        self._registry = CollectorRegistry()
        engine = service.engine
        gauges = {
            "hilight_running": ("answers in progress", lambda: engine.num_running),
            "hilight_waiting": ("requests that wait for a slot", lambda: engine.num_waiting),
            "hilight_slots": ("answers in progress at most", lambda: engine.num_slots),
            "hilight_files": ("uploaded files that are kept", lambda: len(service.videos.files())),
        }
        for name, (what, read) in gauges.items():
            Gauge(name, what, registry=self._registry).set_function(read)
        self._requests = self._counter("hilight_requests", "requests by route and status", ["route", "status"])
        self._seconds = self._histogram("hilight_request_seconds", "time until the response has ended", ["route"])
        self._answers = self._counter("hilight_answers", "answers by why they ended", ["reason"])
        self._read = self._counter("hilight_prompt_tokens", "tokens of prompts read")
        self._said = self._counter("hilight_answer_tokens", "tokens of answers said")
        self._first = self._histogram("hilight_first_token_seconds", "time in line and to the first token")
        self._whole = self._histogram("hilight_answer_seconds", "time in line and to the last token")
        engine.finished = self._finished

    def _counter(self, name: str, what: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, labels: Sequence[str] = ()) -> Histogram:
        return Histogram(name, what, labels, registry=self._registry)

    def _finished(self, ticket: Ticket, piece: Piece) -> None:
        self._answers.labels(piece.finish_reason).inc()
        self._said.inc(piece.num_tokens)
        if ticket.prompt is not None:
            self._read.inc(len(ticket.prompt.ids))
        if ticket.first is not None:
            self._first.observe(ticket.first - ticket.began)
            self._whole.observe(time.monotonic() - ticket.began)

    def count(self, request: Request, status: int, seconds: float) -> None:
        """Counts a request that was answered.

        Args:
          request: Its route is known.
          status: Of the answer.
          seconds: Until the answer had ended.
        """
        route = request.scope.get("route")
        name = getattr(route, "path", "other")
        self._requests.labels(name, str(status)).inc()
        self._seconds.labels(name).observe(seconds)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)
