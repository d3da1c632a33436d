"""Routes of OpenAI's models and chat completions; an answer is sent whole or as server-sent events."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hilight_jax.serving.answer_stream import Chunk
from hilight_jax.serving.protocol import INVALID_REQUEST, SERVER_ERROR, ChatRequest, error_body, usage
from hilight_jax.serving.service import Service, while_connected

# Proxies must not buffer the events.
_EVENT_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def chat_router(service: Service) -> APIRouter:
    """Makes the routes of a service."""
    router = APIRouter()

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """Lists the one model."""
        return {"object": "list", "data": [service.facts()]}

    @router.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        """Describes the model."""
        service.check_model(name)
        return service.facts()

    @router.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        """Answers a conversation, at once or as a stream."""
        stream, num_prompt_tokens = await while_connected(service.submit(body), request.is_disconnected)
        answer = _Answer(service.name, num_prompt_tokens)
        chunks = service.chunks(stream, request.is_disconnected, only_last=not body.stream)
        if body.stream:
            with_usage = bool(body.stream_options and body.stream_options.include_usage)
            events = _events(answer, chunks, with_usage)
            return StreamingResponse(events, headers=_EVENT_HEADERS, media_type="text/event-stream")
        text, last = "", None
        async for chunk in chunks:
            text, last = text + chunk.text, chunk
        if last is None or last.finish_reason == "cancelled":
            return JSONResponse(error_body("the request was given up; ask again.", SERVER_ERROR), 503)
        if last.error:
            refused = last.finish_reason == "refused"
            error = error_body(last.error, INVALID_REQUEST if refused else SERVER_ERROR)
            return JSONResponse(error, 400 if refused else 500)
        return JSONResponse(answer.completion(text, last))

    return router


class _Answer:
    """OpenAI's forms of one answer: a completion, or chunks."""

    def __init__(self, model: str, num_prompt_tokens: int):
        self._facts = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._num_prompt_tokens = num_prompt_tokens

    def completion(self, text: str, last: Chunk) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": last.finish_reason, "logprobs": None}
        return {**self._facts, "object": "chat.completion", "choices": [choice], "usage": self.usage(last)}

    def delta(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return {**self._facts, "object": "chat.completion.chunk", "choices": [choice]}

    def usage_chunk(self, last: Chunk) -> dict[str, Any]:
        return {**self._facts, "object": "chat.completion.chunk", "choices": [], "usage": self.usage(last)}

    def usage(self, last: Chunk) -> dict[str, int]:
        return usage(self._num_prompt_tokens, last.num_tokens)


async def _events(answer: _Answer, chunks: AsyncIterator[Chunk], with_usage: bool) -> AsyncIterator[str]:
    """Yields the server-sent events of an answer."""
    yield _event(answer.delta({"role": "assistant", "content": ""}))
    async for chunk in chunks:
        if chunk.text:
            yield _event(answer.delta({"content": chunk.text}))
        if chunk.finish_reason in ("refused", "failed", "cancelled"):
            message = chunk.error or "the server stopped this answer; ask again."
            yield _event(error_body(message, INVALID_REQUEST if chunk.finish_reason == "refused" else SERVER_ERROR))
        elif chunk.finish_reason:
            yield _event(answer.delta({}, chunk.finish_reason))
            if with_usage:
                yield _event(answer.usage_chunk(chunk))
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
