"""Routes of OpenAI's files and embeddings, and of evidence, moments, search and places, which its protocol lacks."""

import asyncio
import base64
import io
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response
from PIL import Image

from hilight_jax.generation.evidence import ClipEvidence
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.serving.protocol import (
    EmbeddingsRequest,
    EvidenceRequest,
    LocateRequest,
    MomentsRequest,
    SearchRequest,
    usage,
)
from hilight_jax.serving.service import Service, while_connected
from hilight_jax.serving.videos.video_store import StoredFile


def video_router(service: Service) -> APIRouter:
    """Makes the routes of a service."""
    router, videos = APIRouter(), service.videos

    @router.post("/v1/files")
    async def upload(
        file: Annotated[UploadFile, File()], purpose: Annotated[str, Form()] = "user_data"
    ) -> dict[str, Any]:
        """Stores a video."""
        content = await file.read(videos.limits.max_bytes + 1)
        return _facts(await videos.add(file.filename or "video", content))

    @router.get("/v1/files")
    async def files(
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "asc",
        purpose: str = "user_data",
    ) -> dict[str, Any]:
        """Lists the stored videos, those behind the file ``after`` where it is given."""
        stored = [_facts(file) for file in videos.files()] if purpose == "user_data" else []
        stored = stored if order == "asc" else stored[::-1]
        if after:
            videos.get(after)
            stored = stored[[file["id"] for file in stored].index(after) + 1 :] if stored else []
        data = stored[:limit]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, "has_more": len(stored) > limit, **ends}

    @router.get("/v1/files/{file_id}")
    async def file_of(file_id: str) -> dict[str, Any]:
        """Describes a stored video."""
        return _facts(videos.get(file_id))

    @router.get("/v1/files/{file_id}/content")
    async def content_of(file_id: str) -> Response:
        """Sends a video as bytes that no browser renders as a page."""
        headers = {"content-disposition": "attachment"}
        return FileResponse(videos.path(file_id), media_type="application/octet-stream", headers=headers)

    @router.delete("/v1/files/{file_id}")
    async def delete(file_id: str) -> dict[str, Any]:
        """Deletes a video."""
        videos.delete(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    @router.post("/v1/embeddings")
    async def embeddings(body: EmbeddingsRequest, request: Request) -> dict[str, Any]:
        """Embeds texts and videos as unit vectors."""
        items = body.input if isinstance(body.input, list) else [body.input]
        service.check_model(body.model)
        vectors, num_tokens = await while_connected(service.embedding.embed(items), request.is_disconnected)
        data = [
            {"object": "embedding", "index": i, "embedding": _encode_vector(vector, body.encoding_format)}
            for i, vector in enumerate(vectors)
        ]
        return {"object": "list", "model": service.name, "data": data, "usage": usage(num_tokens)}

    @router.post("/v1/evidence")
    async def evidence(body: EvidenceRequest, request: Request) -> Response:
        """Traces an answer back to its videos: frames as JPEG files, and the share of every patch."""
        traced = await while_connected(service.evidence(body, body.answer), request.is_disconnected)
        return await asyncio.to_thread(_evidence_response, traced)

    @router.post("/v1/moments")
    async def moments(body: MomentsRequest, request: Request) -> dict[str, Any]:
        """Finds the parts of a video that fit a phrase, with their times in seconds."""
        found = service.films.scan(body.video.url, body.text, body.words, body.shots)
        return await while_connected(found, request.is_disconnected)

    @router.post("/v1/search")
    async def search(body: SearchRequest, request: Request) -> dict[str, Any]:
        """Orders videos, or the pieces of the archive, by how well they fit a phrase."""
        if body.archive:
            found = service.archive.search(body)
            return {"object": "list", "data": await while_connected(found, request.is_disconnected)}
        urls = None if body.videos is None else [video.url for video in body.videos]
        found = service.embedding.search(urls, body.text, body.words, body.shortlist)
        return {"object": "list", "data": await while_connected(found, request.is_disconnected)}

    @router.post("/v1/locate")
    async def locate(body: LocateRequest, request: Request) -> dict[str, Any]:
        """Finds named things in frames of a video: pixels, seconds, and whether each is seen."""
        return await while_connected(service.locating.locate(body), request.is_disconnected)

    return router


def _facts(stored: StoredFile) -> dict[str, Any]:
    facts = {"id": stored.id, "filename": stored.filename, "bytes": stored.size, "created_at": stored.created}
    return {**facts, "object": "file", "purpose": "user_data", "status": "processed"}


def _evidence_response(traced: Sequence[tuple[VideoClip, ClipEvidence]]) -> Response:
    data = [
        {
            "share": evidence.share,
            "frames": [_jpeg_url(picture) for picture in clip.pictures],
            "numbers": clip.numbers.tolist(),
            "num_total": clip.num_total,
            "maps": (evidence.maps / max(float(evidence.maps.max()), 1e-12)).round(4).tolist(),
            "frame_shares": (evidence.maps.sum(axis=(1, 2)) / max(float(evidence.maps.sum()), 1e-12)).round(4).tolist(),
        }
        for clip, evidence in traced
    ]
    return JSONResponse({"object": "list", "data": data})


def _jpeg_url(picture: np.ndarray) -> str:
    """Encodes a picture uint8 [Y, X, 3] as a ``data:`` URL."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _encode_vector(vector: np.ndarray, encoding: str) -> list[float] | str:
    vector = np.asarray(vector, np.float32)
    return base64.b64encode(vector.tobytes()).decode() if encoding == "base64" else vector.tolist()
