"""Access control and limits of request bodies, in front of every route."""

import asyncio
import dataclasses
import hmac
import logging
import re
import time
import urllib.parse
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hilight_jax.serving.metrics import Metrics
from hilight_jax.serving.protocol import INVALID_REQUEST, error_body

_PUBLIC_PATHS = ("/health", "/")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Bodies of the largest size that may be in memory at a time.
_NUM_LARGEST = 8
# Bodies up to this size are read even if large ones fill the memory limit.
_SMALL_BYTES = 10**6
_MIN_BYTES_PER_SECOND = 20_000
_NO_KEY = "invalid_api_key"
_LOG = logging.getLogger(__name__)

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        b"media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
# Responses to bodies that were not read to the end; the connection is closed, or the client would go on sending.
_UNREAD_STATUSES = (401, 403, 408, 413, 421, 503)
_CLOSE = ((b"connection", b"close"),)


@dataclasses.dataclass(frozen=True)
class AccessRules:
    """Access rules and limits of requests.

    Attributes:
      api_keys: Every request but those for the page needs one of these keys; empty for no keys.
      max_body_bytes: The largest body; all bodies in memory together may be 8 times as large.
      origins: Sites whose pages may send requests, beside the server's own page.
      local: Accept only this machine's own names and those of ``origins`` as the host, against DNS rebinding.
      pause_seconds: The longest pause within a body.
    """

    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = 160 * 10**6
    origins: tuple[str, ...] = ()
    local: bool = False
    pause_seconds: float = 30.0


class AccessMiddleware:
    """ASGI middleware that checks host, origin, key and body of every request, and logs and counts it.

    Bodies are counted as they arrive, because one without a stated length can be endless. Starlette's
    ``TrustedHostMiddleware`` does not check the host here: it answers 400 in plain text, where OpenAI's clients need
    421 and an error in JSON, and it cannot name the option that allows the host.
    """

    def __init__(self, app: Any, metrics: Metrics, rules: AccessRules):
        """Wraps ``app``; ``metrics`` counts the requests."""
        self._app, self._metrics, self._rules = app, metrics, rules
        self._names = {*_LOCAL_NAMES, *(origin.partition("//")[2].partition(":")[0] for origin in rules.origins)}
        self._in_memory = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes a request on or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, began, status = Request(scope), time.perf_counter(), 500
        num_read, complete = 0, False
        client = request.client.host if request.client else "-"

        async def receive_counted() -> Any:
            nonlocal num_read, complete
            try:
                async with asyncio.timeout(None if complete else self._rules.pause_seconds):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408, f"the body stopped coming for {self._rules.pause_seconds:g} s; send it again"
                ) from error
            complete = not message.get("more_body", False)
            size = len(message.get("body", b""))
            num_read += size
            self._in_memory += size
            seconds = time.perf_counter() - began
            if not complete and seconds > self._rules.pause_seconds and num_read < _MIN_BYTES_PER_SECOND * seconds:
                raise HTTPException(
                    408, f"the body comes more slowly than {_MIN_BYTES_PER_SECOND:,} bytes a second; send it again"
                )
            if num_read > self._rules.max_body_bytes:
                raise HTTPException(413, f"the body may have {self._rules.max_body_bytes:,} bytes, and has more")
            if num_read > _SMALL_BYTES and self._in_memory > _NUM_LARGEST * self._rules.max_body_bytes:
                raise HTTPException(503, "other requests are being read that are large, too; try again in some seconds")
            return message

        async def send_with_headers(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = _HEADERS + _CLOSE if status in _UNREAD_STATUSES else _HEADERS
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            refusal = self._refuse(request)
            await (refusal or self._app)(scope, receive_counted, send_with_headers)
        finally:
            self._in_memory -= num_read
            seconds = time.perf_counter() - began
            self._metrics.count(request, status, seconds)
            path = urllib.parse.quote(scope["path"][:100])
            _LOG.info("%s %s %s %d %.3f s", client, request.method, path, status, seconds)

    def _refuse(self, request: Request) -> JSONResponse | None:
        """Returns the response to a request that is not allowed, else None."""
        rules, headers = self._rules, request.headers
        host, origin = headers.get("host", ""), headers.get("origin")
        if rules.local and re.sub(r":\d+$", "", host.lower()) not in self._names:
            message = f"this server is not '{host[:100]}'; --allow_origin https://NAME gives it another name."
            return JSONResponse(error_body(message, "permission_error"), 421)
        if origin is not None and origin.partition("//")[2] != host and origin not in rules.origins:
            message = f"pages of '{origin[:100]}' may not send requests; --allow_origin allows them."
            return JSONResponse(error_body(message, "permission_error"), 403)
        path = request.scope["path"]
        if rules.api_keys and path not in _PUBLIC_PATHS and not path.startswith("/page/"):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            given = given.strip().encode() if scheme.lower() == "bearer" else b""
            if not any(hmac.compare_digest(given, key.encode()) for key in rules.api_keys):
                problem = "the API key is not valid" if given else "an API key is required"
                body = error_body(
                    f"{problem}: send one as 'Authorization: Bearer KEY'.", "authentication_error", _NO_KEY
                )
                return JSONResponse(body, 401, {"www-authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > rules.max_body_bytes:
            message = f"the request has {int(length):,} bytes, but may have {rules.max_body_bytes:,}."
            return JSONResponse(error_body(message, INVALID_REQUEST), 413)
        return None
