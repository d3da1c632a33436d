"""Routes of OpenAI's models and chat completions; an answer is sent whole or as server-sent events."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hilight_jax.serving.answer_stream import Chunk
from hilight_jax.serving.films import Moment
from hilight_jax.serving.log_probs import AnswerLogProbs, ScoredToken
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
        stream, num_prompt_tokens, moments = await while_connected(service.submit(body), request.is_disconnected)
        log_probs = AnswerLogProbs(service.engine.generator.tokenizer) if body.logprobs else None
        answer = _Answer(service.name, num_prompt_tokens, log_probs, moments)
        chunks = service.chunks(stream, request.is_disconnected, only_last=not body.stream)
        if body.stream:
            with_usage = bool(body.stream_options and body.stream_options.include_usage)
            events = _events(answer, chunks, with_usage)
            return StreamingResponse(events, headers=_EVENT_HEADERS, media_type="text/event-stream")
        text, tokens, last = "", [], None
        async for chunk in chunks:
            text, tokens, last = text + chunk.text, [*tokens, *chunk.tokens], chunk
        if last is None or last.finish_reason == "cancelled":
            return JSONResponse(error_body("the request was given up; ask again.", SERVER_ERROR), 503)
        if last.error:
            refused = last.finish_reason == "refused"
            error = error_body(last.error, INVALID_REQUEST if refused else SERVER_ERROR)
            return JSONResponse(error, 400 if refused else 500)
        return JSONResponse(answer.completion(text, tokens, last))

    return router


class _Answer:
    """OpenAI's forms of one answer: a completion, or chunks.

    An answer with log-probabilities also has its ``confidence``, an extension, beside the reason of its end; one about
    a film has the ``moments`` that it is about.
    """

    def __init__(
        self, model: str, num_prompt_tokens: int, log_probs: AnswerLogProbs | None, moments: Sequence[Moment] = ()
    ):
        self._moments = {"moments": [moment.as_json() for moment in moments]} if moments else {}
        self._facts = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._num_prompt_tokens, self._log_probs = num_prompt_tokens, log_probs

    def completion(self, text: str, tokens: Sequence[ScoredToken], last: Chunk) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, **self._scored(text, tokens), **self._end(last.finish_reason)}
        body = {**self._facts, "object": "chat.completion", "choices": [choice], "usage": self.usage(last)}
        return body | self._moments

    def delta(self, delta: dict[str, str], tokens: Sequence[ScoredToken] = ()) -> dict[str, Any]:
        scored = self._scored(delta.get("content", ""), tokens)
        return self._chunk({"index": 0, "delta": delta, "finish_reason": None, **scored})

    def end(self, last: Chunk) -> dict[str, Any]:
        return self._chunk({"index": 0, "delta": {}, "logprobs": None, **self._end(last.finish_reason)}) | self._moments

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self._facts, "object": "chat.completion.chunk", "choices": [choice]}

    def _scored(self, text: str, tokens: Sequence[ScoredToken]) -> dict[str, Any]:
        return {"logprobs": None if self._log_probs is None else self._log_probs.take(text, tokens)}

    def _end(self, finish_reason: str | None) -> dict[str, Any]:
        confidence = {} if self._log_probs is None else {"confidence": self._log_probs.confidence}
        return {"finish_reason": finish_reason, **confidence}

    def usage_chunk(self, last: Chunk) -> dict[str, Any]:
        return {**self._facts, "object": "chat.completion.chunk", "choices": [], "usage": self.usage(last)}

    def usage(self, last: Chunk) -> dict[str, int]:
        return usage(self._num_prompt_tokens, last.num_tokens)


async def _events(answer: _Answer, chunks: AsyncIterator[Chunk], with_usage: bool) -> AsyncIterator[str]:
    """Yields the server-sent events of an answer."""
    yield _event(answer.delta({"role": "assistant", "content": ""}))
    async for chunk in chunks:
        if chunk.text or chunk.tokens:
            yield _event(answer.delta({"content": chunk.text}, chunk.tokens))
        if chunk.finish_reason in ("refused", "failed", "cancelled"):
            message = chunk.error or "the server stopped this answer; ask again."
            yield _event(error_body(message, INVALID_REQUEST if chunk.finish_reason == "refused" else SERVER_ERROR))
        elif chunk.finish_reason:
            yield _event(answer.end(chunk))
            if with_usage:
                yield _event(answer.usage_chunk(chunk))
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
