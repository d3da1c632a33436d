"""What the server has done, counted for Prometheus."""

import contextlib
import time
from collections.abc import Iterator

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
            "hilight_prompt_tokens": ("tokens of prompts read", lambda: engine.counts.prompt_tokens),
            "hilight_answer_tokens": ("tokens of answers said", lambda: engine.counts.answer_tokens),
            "hilight_files": ("uploaded files that are kept", lambda: len(service.videos.files())),
        }
        for name, (what, read) in gauges.items():
            Gauge(name, what, registry=self._registry).set_function(read)
        self._requests = Counter("hilight_requests", "requests by route", ["route"], registry=self._registry)
        self._seconds = Histogram(
            "hilight_request_seconds", "time to the beginning of the response", ["route"], registry=self._registry
        )

    @contextlib.contextmanager
    def timed(self, request: Request) -> Iterator[None]:
        """Counts a request and the time that it takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            route = request.scope.get("route")
            name = getattr(route, "path", "other")
            self._requests.labels(name).inc()
            self._seconds.labels(name).observe(time.perf_counter() - began)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)
