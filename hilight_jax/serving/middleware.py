"""What stands before every request: keys, and how much may be sent."""

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
from hilight_jax.serving.protocol import error_body

_OPEN = ("/health", "/")
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_AT_A_TIME = 8
# Bytes that are read whatever else is being read, and bytes a second, at least.
_SMALL = 10**6
_SLOWEST = 20_000
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
# Answers to what was not read to its end: the connection ends with them, or the client would go on sending.
_UNREAD = (401, 403, 408, 413, 421, 503)
_LAST = ((b"connection", b"close"),)


@dataclasses.dataclass(frozen=True)
class Rules:
    """Who may ask.

    Attributes:
      api_keys: One of them must come with every request but those for the page; none asks for none.
      max_body_bytes: Of a request; those of all clients together may be 8 times as large.
      origins: Sites whose pages may ask, beside the server's own page.
      local: The server has no other names than this machine's own and those of ``origins``: a site that lets its name
        point here gets nothing.
      pause_seconds: For which the rest of a body may fail to come.
    """

    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = 160 * 10**6
    origins: tuple[str, ...] = ()
    local: bool = False
    pause_seconds: float = 30.0


class Guard:
    """An ASGI application around another one.

    Bodies are counted as they come, for one whose length nobody states can be endless.
    """

    def __init__(self, app: Any, metrics: Metrics, rules: Rules):
        """Stands before ``app``; ``metrics`` counts what comes."""
        self._app, self._metrics, self._rules = app, metrics, rules
        self._names = {*_LOCAL, *(origin.partition("//")[2].partition(":")[0] for origin in rules.origins)}
        self._in_memory = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Lets a request pass or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, began, status = Request(scope), time.perf_counter(), 500
        read, whole = 0, False
        client = request.client.host if request.client else "-"

        async def receive_counted() -> Any:
            nonlocal read, whole
            try:
                async with asyncio.timeout(None if whole else self._rules.pause_seconds):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408, f"the body stopped coming for {self._rules.pause_seconds:g} s; send it again"
                ) from error
            whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            read += size
            seconds = time.perf_counter() - began
            if not whole and seconds > self._rules.pause_seconds and read < _SLOWEST * seconds:
                raise HTTPException(408, f"the body comes more slowly than {_SLOWEST:,} bytes a second; send it again")
            self._in_memory += size
            if read > self._rules.max_body_bytes:
                raise HTTPException(413, f"the body may have {self._rules.max_body_bytes:,} bytes, and has more")
            if read > _SMALL and self._in_memory > _AT_A_TIME * self._rules.max_body_bytes:
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
            seconds = time.perf_counter() - began
            self._metrics.count(request, status, seconds)
            path = urllib.parse.quote(scope["path"][:100])
            _LOG.info("%s %s %s %d %.3f s", client, request.method, path, status, seconds)

    def _refusal(self, request: Request) -> JSONResponse | None:
        rules, headers = self._rules, request.headers
        host, origin = headers.get("host", ""), headers.get("origin")
        if rules.local and re.sub(r":\d+$", "", host.lower()) not in self._names:
            message = f"this server is not '{host[:100]}'; --allow_origin https://NAME gives it another name."
            return JSONResponse(error_body(message, "permission_error"), 421)
        if origin is not None and origin.partition("//")[2] != host and origin not in rules.origins:
            message = f"pages of '{origin[:100]}' may not ask; --allow_origin lets them."
            return JSONResponse(error_body(message, "permission_error"), 403)
        path = request.scope["path"]
        if rules.api_keys and path not in _OPEN and not path.startswith("/page/"):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            given = given.strip().encode() if scheme.lower() == "bearer" else b""
            if not any(hmac.compare_digest(given, key.encode()) for key in rules.api_keys):
                asks = "this server does not know this key" if given else "this server asks for a key"
                body = error_body(f"{asks}: send one as 'Authorization: Bearer KEY'.", "authentication_error", _NO_KEY)
                return JSONResponse(body, 401, {"www-authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > rules.max_body_bytes:
            message = f"the request has {int(length):,} bytes, but may have {rules.max_body_bytes:,}."
            return JSONResponse(error_body(message, "invalid_request_error"), 413)
        return None
