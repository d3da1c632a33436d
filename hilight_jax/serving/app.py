"""The server: OpenAI's endpoints and the page, each a few lines over ``Service``."""

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from importlib import resources
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from fastapi import FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from hilight_jax.core.errors import UserError
from hilight_jax.data.conversations.context_length import TooLong
from hilight_jax.serving.admission import Busy
from hilight_jax.serving.engine import Closed, Piece
from hilight_jax.serving.metrics import Metrics
from hilight_jax.serving.middleware import Guard, Rules
from hilight_jax.serving.protocol import (
    ChatRequest,
    EmbeddingsRequest,
    EvidenceRequest,
    MomentsRequest,
    error_body,
    place,
    usage,
)
from hilight_jax.serving.service import Service, UnknownModel
from hilight_jax.serving.videos.decoding import DecoderFailed, NoRoom
from hilight_jax.serving.videos.video_store import Forbidden, StoredFile, TooLarge, UnknownFile

_REFUSED, _OURS = "invalid_request_error", "server_error"
# Status, kind and code of each error; any other of the user's is a bad request.
_ERRORS: dict[type[UserError], tuple[int, str, str | None]] = {
    Busy: (429, "rate_limit_error", None),
    Closed: (503, _OURS, None),
    UnknownFile: (404, _REFUSED, None),
    UnknownModel: (404, _REFUSED, "model_not_found"),
    TooLong: (400, _REFUSED, "context_length_exceeded"),
    TooLarge: (413, _REFUSED, None),
    Forbidden: (403, "permission_error", None),
    DecoderFailed: (502, _OURS, None),
    NoRoom: (507, _OURS, None),
}
# Nobody on the way is to collect the pieces before it hands them on.
_STREAM = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_PAGE = "hilight_jax.serving"
_PATIENCE = 0.5
_Result = TypeVar("_Result")


def make_app(service: Service, rules: Rules) -> FastAPI:
    """Builds the server: what it serves, and to whom."""
    metrics = Metrics(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.videos.close()

    app = FastAPI(title="hilight_jax", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service

    app.add_middleware(Guard, metrics=metrics, rules=rules)
    if rules.origins:
        app.add_middleware(CORSMiddleware, allow_origins=rules.origins, allow_methods=["*"], allow_headers=["*"])

    @app.exception_handler(UserError)
    async def user_error(request: Request, error: UserError) -> Response:
        status, kind, code = _ERRORS.get(type(error), (400, _REFUSED, None))
        headers = {"retry-after": "2"} if status in (429, 503) else None
        return _failed(status, error_body(str(error), kind, code), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            message = f"the body is no JSON ({first['ctx']['error'].lower()} at character {first['loc'][-1]})."
            return _failed(400, error_body(message, _REFUSED))
        if first["loc"] == ("body",) and not _is_json(request):
            message = "the body is not said to be JSON; send it as 'Content-Type: application/json'."
            return _failed(415, error_body(message, _REFUSED))
        where, said = place(first["loc"]), first["msg"].removeprefix("Value error, ")
        message = f"{where or 'the body'}: {said[:1].lower()}{said[1:]}{'' if said.endswith(('.', '?')) else '.'}"
        return _failed(400, error_body(message, _REFUSED, param=where or None))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path[:100]}: {str(error.detail).lower()}."
        return _failed(error.status_code, error_body(message, _REFUSED), error.headers)

    @app.exception_handler(Exception)
    async def ours(request: Request, error: Exception) -> Response:
        return _failed(500, error_body("the server failed on this request; its log says why.", _OURS))

    @app.head("/health", include_in_schema=False)  # As monitors ask.
    @app.get("/health")
    async def health() -> Response:
        """Whether the model answers."""
        alive = service.engine.alive
        return JSONResponse({"status": "ok" if alive else "stopped"}, 200 if alive else 503)

    @app.get("/metrics")
    async def counted() -> Response:
        """What was counted, for Prometheus."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one model."""
        return {"object": "list", "data": [service.facts()]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        """What is known of it."""
        service.check_model(name)
        return service.facts()

    @app.post("/v1/files")
    async def upload(
        file: Annotated[UploadFile, File()], purpose: Annotated[str, Form()] = "user_data"
    ) -> dict[str, Any]:
        """Keeps a video."""
        content = await file.read(service.videos.limits.max_bytes + 1)
        return _file(await service.videos.add(file.filename or "video", content))

    @app.get("/v1/files")
    async def files(
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "asc",
        purpose: str = "user_data",
    ) -> dict[str, Any]:
        """The videos that are kept; behind the file ``after``, where it is given."""
        kept = [_file(stored) for stored in service.videos.files()] if purpose == "user_data" else []
        kept = kept if order == "asc" else kept[::-1]
        if after:
            service.videos.get(after)
            kept = kept[[file["id"] for file in kept].index(after) + 1 :] if kept else []
        data = kept[:limit]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, "has_more": len(kept) > limit, **ends}

    @app.get("/v1/files/{file_id}")
    async def file_of(file_id: str) -> dict[str, Any]:
        """What is known of one."""
        return _file(service.videos.get(file_id))

    @app.get("/v1/files/{file_id}/content")
    async def content_of(file_id: str) -> Response:
        """Its bytes, which a browser shall not take for a page whatever they are."""
        headers = {"content-disposition": "attachment"}
        return FileResponse(service.videos.path(file_id), media_type="application/octet-stream", headers=headers)

    @app.delete("/v1/files/{file_id}")
    async def forget(file_id: str) -> dict[str, Any]:
        """Deletes one."""
        service.videos.delete(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        """Answers a conversation, at once or piece by piece."""
        ticket, num_prompt = await _while_there(request, service.begin(asked))
        answer = _Answer(service.name, num_prompt)
        pieces = service.pieces(ticket, request.is_disconnected, at_once=not asked.stream)
        if asked.stream:
            with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            return StreamingResponse(
                _events(answer, pieces, with_usage), headers=_STREAM, media_type="text/event-stream"
            )
        text, last = "", None
        async for piece in pieces:
            text, last = text + piece.text, piece
        if last is None or last.finish_reason == "cancelled":
            return _failed(503, error_body("the request was given up; ask again.", _OURS))
        if last.error:
            refused = last.finish_reason == "refused"
            return _failed(400 if refused else 500, error_body(last.error, _REFUSED if refused else _OURS))
        return JSONResponse(answer.whole(text, last))

    @app.post("/v1/embeddings")
    async def embeddings(asked: EmbeddingsRequest, request: Request) -> dict[str, Any]:
        """Unit vectors of texts and videos."""
        items = asked.input if isinstance(asked.input, list) else [asked.input]
        service.check_model(asked.model)
        vectors, tokens = await _while_there(request, service.embed(items))
        data = [
            {"object": "embedding", "index": i, "embedding": _encoded(vector, asked.encoding_format)}
            for i, vector in enumerate(vectors)
        ]
        return {"object": "list", "model": service.name, "data": data, "usage": usage(tokens)}

    @app.post("/v1/evidence")
    async def evidence(asked: EvidenceRequest, request: Request) -> Response:
        """What an answer drew on, video by video; no endpoint of OpenAI's."""
        found = await _while_there(request, service.evidence(asked, asked.answer))
        return await asyncio.to_thread(JSONResponse, {"object": "list", "data": found})

    @app.post("/v1/moments")
    async def moments(asked: MomentsRequest, request: Request) -> dict[str, Any]:
        """Where in a video a phrase fits best; no endpoint of OpenAI's."""
        return await _while_there(request, service.moments(asked.video.url, asked.text))

    page = resources.files(_PAGE) / "page"

    @app.head("/", include_in_schema=False)
    @app.get("/")
    async def index() -> Response:
        """The page."""
        return FileResponse(str(page / "index.html"))

    @app.get("/page/{name}")
    async def part_of_page(name: str) -> Response:
        """Its style and its script."""
        if name not in ("style.css", "page.js"):
            raise HTTPException(404, "not found")
        return FileResponse(str(page / name))

    return app


class _Answer:
    """OpenAI's two forms of an answer."""

    def __init__(self, model: str, num_prompt: int):
        self._facts = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._num_prompt = num_prompt

    def whole(self, text: str, last: Piece) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": last.finish_reason, "logprobs": None}
        counts = usage(self._num_prompt, last.num_tokens)
        return {**self._facts, "object": "chat.completion", "choices": [choice], "usage": counts}

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return {**self._facts, "object": "chat.completion.chunk", "choices": [choice]}

    def counts(self, last: Piece) -> dict[str, Any]:
        counts = usage(self._num_prompt, last.num_tokens)
        return {**self._facts, "object": "chat.completion.chunk", "choices": [], "usage": counts}


async def _events(answer: _Answer, pieces: AsyncIterator[Piece], with_usage: bool) -> AsyncIterator[str]:
    """The server-sent events of an answer."""
    yield _event(answer.chunk({"role": "assistant", "content": ""}))
    async for piece in pieces:
        if piece.text:
            yield _event(answer.chunk({"content": piece.text}))
        if piece.finish_reason in ("refused", "failed", "cancelled"):
            message = piece.error or "the server stopped this answer; ask again."
            yield _event(error_body(message, _REFUSED if piece.finish_reason == "refused" else _OURS))
        elif piece.finish_reason:
            yield _event(answer.chunk({}, piece.finish_reason))
            if with_usage:
                yield _event(answer.counts(piece))
    yield "data: [DONE]\n\n"


async def _while_there(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Gives work up whose client has left."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_PATIENCE))[0]:
            if await request.is_disconnected():
                raise HTTPException(499, "the client has left")  # As nginx counts it.
        return task.result()
    finally:
        task.cancel()


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().endswith("json")


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _failed(status: int, body: dict[str, Any], headers: Any = None) -> Response:
    return JSONResponse(body, status, headers)


def _file(stored: StoredFile) -> dict[str, Any]:
    facts = {"id": stored.id, "filename": stored.filename, "bytes": stored.size, "created_at": stored.created}
    return {**facts, "object": "file", "purpose": "user_data", "status": "processed"}


def _encoded(vector: np.ndarray, encoding: str) -> list[float] | str:
    vector = np.asarray(vector, np.float32)
    return base64.b64encode(vector.tobytes()).decode() if encoding == "base64" else vector.tolist()
