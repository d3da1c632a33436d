"""Counters and histograms of the server, for Prometheus."""

import functools
import time

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hilight_jax.serving.answer_stream import AnswerStream, Chunk
from hilight_jax.serving.service import Service


class Metrics:
    """Metrics of one server."""

    def __init__(self, service: Service):
        """Registers the metrics of a service."""
        self._registry = CollectorRegistry()
        engine = service.engine
        gauges = {
            "hilight_running": ("answers in progress", lambda: engine.num_running),
            "hilight_waiting": ("requests that wait for a slot", lambda: engine.num_waiting),
            "hilight_slots": ("the most answers in progress", lambda: engine.num_slots),
            "hilight_files": ("uploaded files that are kept", lambda: len(service.videos.files())),
        }
        for name, (what, read) in gauges.items():
            Gauge(name, what, registry=self._registry).set_function(read)
        counter = functools.partial(Counter, registry=self._registry)
        histogram = functools.partial(Histogram, registry=self._registry)
        self._requests = counter("hilight_requests", "requests by route and status", ["route", "status"])
        self._seconds = histogram("hilight_request_seconds", "time until the response has ended", ["route"])
        self._answers = counter("hilight_answers", "answers by finish reason", ["reason"])
        self._prompt_tokens = counter("hilight_prompt_tokens", "tokens of prompts read")
        self._answer_tokens = counter("hilight_answer_tokens", "tokens of answers generated")
        self._first_token_seconds = histogram("hilight_first_token_seconds", "time from submission to the first token")
        self._answer_seconds = histogram("hilight_answer_seconds", "time from submission to the last token")
        engine.on_finished = self._count_answer

    def _count_answer(self, stream: AnswerStream, last: Chunk) -> None:
        self._answers.labels(last.finish_reason).inc()
        self._answer_tokens.inc(last.num_tokens)
        if stream.prompt is not None:
            self._prompt_tokens.inc(len(stream.prompt.ids))
        if stream.first_token_at is not None:
            self._first_token_seconds.observe(stream.first_token_at - stream.submitted_at)
            self._answer_seconds.observe(time.monotonic() - stream.submitted_at)

    def count(self, request: Request, status: int, seconds: float) -> None:
        """Counts a request by its route and status, and the seconds until its response has ended."""
        route = getattr(request.scope.get("route"), "path", "other")
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Writes all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
