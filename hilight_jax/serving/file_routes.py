"""Routes of OpenAI's files: upload, list, download and delete videos."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import FileResponse, Response

from hilight_jax.serving.videos.video_store import StoredFile, VideoStore


def file_router(videos: VideoStore) -> APIRouter:
    """Makes the routes of a store of videos."""
    router = APIRouter()

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

    return router


def _facts(stored: StoredFile) -> dict[str, Any]:
    facts = {"id": stored.id, "filename": stored.filename, "bytes": stored.size, "created_at": stored.created}
    return {**facts, "object": "file", "purpose": "user_data", "status": "processed"}
