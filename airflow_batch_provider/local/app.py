"""OpenAI's Files and Batches API, and the engine's real-time endpoints, as a Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import ENDPOINTS, Engine, error_body
from airflow_batch_provider.local.guard import Guard
from airflow_batch_provider.local.objects import (
    ApiError,
    check_metadata,
    file_object,
    lifetime,
    list_object,
    new_id,
    now,
)
from airflow_batch_provider.local.policy import Hooks, Policy
from airflow_batch_provider.local.runner import Runner, answer
from airflow_batch_provider.local.store import Store
from airflow_batch_provider.local.uploads import Upload, too_large

_MOST_BODY_BYTES = 64 << 20


def create_app(store: Store, engine: Engine, policy: Policy, hooks: Hooks | None = None) -> Starlette:
    """The server as an ASGI application; its lifespan resumes what was left, and closes store and engine."""
    api = _Api(store, engine, policy)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        api.runner = Runner(store, engine, policy, hooks)
        api.runner.resume()
        try:
            yield
        finally:
            await api.runner.stop()
            await engine.aclose()
            store.close()

    routes = [
        Route("/health", api.health),
        Route("/v1/models", api.models),
        Route("/v1/files", api.upload, methods=["POST"]),
        Route("/v1/files", api.list_files),
        Route("/v1/files/{id}", api.get_file),
        Route("/v1/files/{id}", api.delete_file, methods=["DELETE"]),
        Route("/v1/files/{id}/content", api.content),
        Route("/v1/batches", api.create_batch, methods=["POST"]),
        Route("/v1/batches", api.list_batches),
        Route("/v1/batches/{id}", api.get_batch),
        Route("/v1/batches/{id}/cancel", api.cancel_batch, methods=["POST"]),
        *(Route(endpoint, api.real_time, methods=["POST"]) for endpoint in sorted(ENDPOINTS)),
    ]
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        ApiError: _on_api_error,
        HTTPException: _on_http_error,
        500: _on_defect,
    }
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    app.add_middleware(Guard, token=policy.token, hosts=policy.hosts)
    return app


class _Api:
    """The endpoints; the runner is there once the application has started."""

    runner: Runner

    def __init__(self, store: Store, engine: Engine, policy: Policy) -> None:
        self._store = store
        self._engine = engine
        self._policy = policy

    async def health(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def models(self, request: Request) -> Response:
        names = await self._engine.models()
        data = [{"id": name, "object": "model", "created": 0, "owned_by": self._engine.name} for name in names]
        return _json({"object": "list", "data": data})

    async def real_time(self, request: Request) -> Response:
        body = await _body(request)
        if body.get("stream"):
            raise ApiError(400, "This server does not stream answers.", param="stream", code="unsupported_value")
        reply = await answer(self._engine, request.url.path, body)
        headers = {"retry-after": f"{reply.retry_after:g}"} if reply.retry_after is not None else None
        return _json(reply.body, reply.status, headers)

    # files

    async def upload(self, request: Request) -> Response:
        if int(request.headers.get("content-length") or 0) > self._policy.max_upload_bytes + _MOST_BODY_BYTES:
            raise too_large(self._policy.max_upload_bytes)
        file_id = new_id("file-")
        part = self._store.path(f"{file_id}.part")
        upload = Upload(request.headers.get("content-type", ""), part, self._policy.max_upload_bytes)
        try:
            await upload.receive(request.stream())
            item = self._file_of(upload, file_id)
            part.rename(self._store.path(file_id))
        except ClientDisconnect:
            return Response(status_code=499)
        finally:
            part.unlink(missing_ok=True)
        self._store.add_file(item)
        return _json(item)

    def _file_of(self, upload: Upload, file_id: str) -> JSON:
        if upload.filename is None:
            raise ApiError(400, "Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
        if upload.fields.get("purpose") != "batch":
            given = upload.fields.get("purpose")
            raise ApiError(400, f"Invalid purpose {given!r}; this server takes 'batch'.", param="purpose")
        expiry = {name: upload.fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds")}
        life = lifetime(expiry if any(expiry.values()) else None)
        return file_object(file_id, filename=upload.filename, purpose="batch", size=upload.size, life=life)

    def _file(self, file_id: str) -> JSON:
        item = self._store.file(file_id)
        if item is not None and item["expires_at"] is not None and item["expires_at"] <= now():
            self._store.delete_file(file_id)
            item = None
        if item is None:
            raise ApiError(404, f"No such File object: {file_id}", param="id")
        return item

    async def list_files(self, request: Request) -> Response:
        limit, after = _page(request, most=10_000, default=10_000)
        ascending = request.query_params.get("order") == "asc"
        items = self._store.list_files(limit + 1, after, request.query_params.get("purpose"), ascending)
        return _list(items, limit, after)

    async def get_file(self, request: Request) -> Response:
        return _json(self._file(request.path_params["id"]))

    async def delete_file(self, request: Request) -> Response:
        file_id = self._file(request.path_params["id"])["id"]
        self._store.delete_file(file_id)
        return _json({"id": file_id, "object": "file", "deleted": True})

    async def content(self, request: Request) -> Response:
        item = self._file(request.path_params["id"])
        return FileResponse(
            self._store.path(item["id"]), media_type="application/octet-stream", filename=item["filename"]
        )

    # batches

    async def create_batch(self, request: Request) -> Response:
        body = await _body(request)
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(body.get(name), str):
                message = f"Missing required parameter: '{name}'."
                raise ApiError(400, message, param=name, code="missing_required_parameter")
        if self._policy.canonical(body["endpoint"]) not in self._policy.endpoints:
            allowed = ", ".join(sorted(self._policy.endpoints))
            message = f"Invalid value: '{body['endpoint']}'. Supported values are: {allowed}."
            raise ApiError(400, message, param="endpoint", code="invalid_value")
        if body["completion_window"] != "24h":
            message = f"Invalid value: '{body['completion_window']}'. Supported values are: '24h'."
            raise ApiError(400, message, param="completion_window", code="invalid_value")
        check_metadata(body.get("metadata"))
        lifetime(body.get("output_expires_after"), "output_expires_after")
        item = self._store.file(body["input_file_id"])
        if item is None:
            raise ApiError(400, f"No such File object: {body['input_file_id']}", param="input_file_id")
        if item["purpose"] != "batch":
            message = f"Invalid file purpose {item['purpose']!r}; a batch needs 'batch'."
            raise ApiError(400, message, param="input_file_id", code="invalid_file_purpose")
        return _json(self.runner.create(body))

    async def list_batches(self, request: Request) -> Response:
        limit, after = _page(request, most=100, default=20)
        items = self._store.list_batches(limit + 1, after)
        live = None if items is None else [self.runner.get(item["id"]) or item for item in items]
        return _list(live, limit, after)

    async def get_batch(self, request: Request) -> Response:
        batch = self.runner.get(request.path_params["id"])
        if batch is None:
            raise ApiError(404, f"No batch found with id '{request.path_params['id']}'.")
        return _json(batch)

    async def cancel_batch(self, request: Request) -> Response:
        return _json(self.runner.cancel(request.path_params["id"]))


def _json(body: JSON, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def _list(items: list[JSON] | None, limit: int, after: str | None) -> Response:
    if items is None:
        raise ApiError(400, f"Nothing was found with the id '{after}' of 'after'.", param="after")
    return _json(list_object(items[:limit], len(items) > limit))


def _page(request: Request, *, most: int, default: int) -> tuple[int, str | None]:
    given = request.query_params.get("limit", str(default))
    if not given.isdecimal() or not 1 <= int(given) <= most:
        message = f"Invalid 'limit': {given!r}; expected a number from 1 to {most}."
        raise ApiError(400, message, param="limit", code="invalid_value")
    return int(given), request.query_params.get("after") or None


async def _body(request: Request) -> JSON:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BODY_BYTES:
            raise ApiError(413, f"The request is larger than {_MOST_BODY_BYTES} bytes.")
    try:
        body = orjson.loads(bytes(data))
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "The request's body is not a JSON object.")
    return body


async def _on_api_error(_: Request, error: ApiError) -> Response:
    return _json(error.body, error.http_status)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    message = f"{error.detail}: {request.method} {request.url.path}"
    return _json(error_body(message), error.status_code)


async def _on_defect(*_: object) -> Response:
    return _json(error_body("The server had an error; see its log.", kind="server_error"), 500)
