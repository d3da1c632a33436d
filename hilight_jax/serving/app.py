"""The HTTP application: routes, error responses, health, metrics, and the page."""

import contextlib
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from hilight_jax.core.errors import UserError
from hilight_jax.data.conversations.conversation import TooLong
from hilight_jax.serving.chat_routes import chat_router
from hilight_jax.serving.engine import Closed
from hilight_jax.serving.metrics import Metrics
from hilight_jax.serving.middleware import AccessMiddleware, AccessRules
from hilight_jax.serving.protocol import INVALID_REQUEST, SERVER_ERROR, error_body, field_path
from hilight_jax.serving.service import Disconnected, Service, UnknownModel
from hilight_jax.serving.video_routes import video_router
from hilight_jax.serving.videos.admission import QueueFull
from hilight_jax.serving.videos.decoding import DecoderFailed, NoRoom
from hilight_jax.serving.videos.video_store import Forbidden, TooLarge, UnknownFile

# Status, type and code of each error; every other UserError is a bad request.
_ERRORS: dict[type[UserError], tuple[int, str, str | None]] = {
    QueueFull: (429, "rate_limit_error", None),
    Closed: (503, SERVER_ERROR, None),
    Disconnected: (499, INVALID_REQUEST, None),  # nginx's status of such requests.
    UnknownFile: (404, INVALID_REQUEST, None),
    UnknownModel: (404, INVALID_REQUEST, "model_not_found"),
    TooLong: (400, INVALID_REQUEST, "context_length_exceeded"),
    TooLarge: (413, INVALID_REQUEST, None),
    Forbidden: (403, "permission_error", None),
    DecoderFailed: (502, SERVER_ERROR, None),
    NoRoom: (507, SERVER_ERROR, None),
}


def make_app(service: Service, rules: AccessRules) -> FastAPI:
    """Builds the application of a service behind access rules."""
    metrics = Metrics(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.videos.close()

    app = FastAPI(title="hilight_jax", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_middleware(AccessMiddleware, metrics=metrics, rules=rules)
    if rules.origins:
        app.add_middleware(CORSMiddleware, allow_origins=rules.origins, allow_methods=["*"], allow_headers=["*"])
    _handle_errors(app)

    @app.head("/health", include_in_schema=False)  # Monitors send HEAD.
    @app.get("/health")
    async def health() -> Response:
        """Reports the state of the model."""
        alive = service.engine.alive
        return JSONResponse({"status": "ok" if alive else "stopped"}, 200 if alive else 503)

    @app.get("/metrics")
    async def prometheus() -> Response:
        """Reports the metrics to Prometheus."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    app.include_router(chat_router(service))
    app.include_router(video_router(service))
    page = resources.files("hilight_jax.serving") / "page"

    @app.head("/", include_in_schema=False)
    @app.get("/")
    async def index() -> Response:
        """Sends the page."""
        return FileResponse(str(page / "index.html"))

    @app.get("/page/{name}")
    async def part_of_page(name: str) -> Response:
        """Sends the page's style or a script."""
        if name not in ("style.css", "page.js", "rings.js", "archive.js"):
            raise HTTPException(404, "not found")
        return FileResponse(str(page / name))

    return app


def _handle_errors(app: FastAPI) -> None:
    """Answers every error with one sentence in OpenAI's form."""

    @app.exception_handler(UserError)
    async def user_error(request: Request, error: UserError) -> Response:
        status, kind, code = _ERRORS.get(type(error), (400, INVALID_REQUEST, None))
        headers = {"retry-after": "2"} if status in (429, 503) else None
        return JSONResponse(error_body(str(error), kind, code), status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            message = f"the body is no JSON ({first['ctx']['error'].lower()} at character {first['loc'][-1]})."
            return JSONResponse(error_body(message, INVALID_REQUEST), 400)
        if first["loc"] == ("body",) and not _is_json(request):
            message = "the body's content type is not JSON; send it as 'Content-Type: application/json'."
            return JSONResponse(error_body(message, INVALID_REQUEST), 415)
        path, text = field_path(first["loc"]), first["msg"].removeprefix("Value error, ")
        message = f"{path or 'the body'}: {text[:1].lower()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"
        return JSONResponse(error_body(message, INVALID_REQUEST, param=path or None), 400)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path[:100]}: {str(error.detail).lower()}."
        headers: Any = error.headers
        return JSONResponse(error_body(message, INVALID_REQUEST), error.status_code, headers)

    @app.exception_handler(Exception)
    async def server_error(request: Request, error: Exception) -> Response:
        return JSONResponse(error_body("the server failed on this request; see its log.", SERVER_ERROR), 500)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().endswith("json")
