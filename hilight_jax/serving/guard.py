"""What stands before every request: keys, and how much may be sent."""

import hmac
import time
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hilight_jax.serving.metrics import Metrics
from hilight_jax.serving.protocol import error_body

_OPEN = ("/health", "/")
_AT_A_TIME = 8

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        b"media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
# Answers to what was not read to its end: the connection ends with them, or the client would go on sending.
_UNREAD = (401, 403, 413, 503)
_LAST = ((b"connection", b"close"),)


class Guard:
    """An ASGI application around another one.

    Requests are counted as they come, for a body whose length nobody states can be endless; those of all clients
    together may be 8 times as large as one.
    """

    def __init__(self, app: Any, metrics: Metrics, api_keys: Sequence[str], max_body_bytes: int):
        """Stands before ``app``.

        Args:
          app: What it guards.
          metrics: Counts.
          api_keys: One of them must come with every request but those for the page; none asks for none.
          max_body_bytes: Of a request.
        """
        self._app, self._metrics, self._max_bytes = app, metrics, max_body_bytes
        self._keys = [key.encode() for key in api_keys]
        self._in_memory = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Lets a request pass or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, began, read, status = Request(scope), time.perf_counter(), 0, 500

        async def receive_counted() -> Any:
            nonlocal read
            message = await receive()
            size = len(message.get("body", b""))
            read += size
            self._in_memory += size
            if read > self._max_bytes:
                raise HTTPException(413, f"the body may have {self._max_bytes:,} bytes, and has more")
            if self._in_memory > _AT_A_TIME * self._max_bytes:
                raise HTTPException(503, "other requests are being read that are large, too; try again in some seconds")
            return message

        async def send_noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS, *(_LAST if status in _UNREAD else ())]
            await send(message)

        try:
            refusal = self._refusal(request)
            await (refusal or self._app)(scope, receive_counted, send_noted)
        finally:
            self._in_memory -= read
            self._metrics.count(request, status, time.perf_counter() - began)

    def _refusal(self, request: Request) -> JSONResponse | None:
        path = request.url.path
        if self._keys and path not in _OPEN and not path.startswith("/page/"):
            given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
            if not any(hmac.compare_digest(given, key) for key in self._keys):
                message = "this server asks for a key: send it as 'Authorization: Bearer KEY'."
                return JSONResponse(error_body(message, "authentication_error", "invalid_api_key"), 401)
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_bytes:
            message = f"the request has {int(length):,} bytes, but may have {self._max_bytes:,}."
            return JSONResponse(error_body(message, "invalid_request_error"), 413)
        return None
