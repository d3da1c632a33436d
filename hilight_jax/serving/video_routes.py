"""Routes of embeddings, and of evidence and moments, which OpenAI's protocol does not have."""

import asyncio
import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image

from hilight_jax.generation.evidence import ClipEvidence
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.serving.protocol import EmbeddingsRequest, EvidenceRequest, MomentsRequest, usage
from hilight_jax.serving.service import Service, while_connected


def video_router(service: Service) -> APIRouter:
    """Makes the routes of a service."""
    router = APIRouter()

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
        """Finds the part of a video that fits a phrase best."""
        return await while_connected(service.embedding.moments(body.video.url, body.text), request.is_disconnected)

    return router


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
