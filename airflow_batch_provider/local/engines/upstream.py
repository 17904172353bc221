"""Any OpenAI-compatible real-time endpoint (vLLM, Ollama, a gateway), which has a Batch API by this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from typing_extensions import override

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.core.retry_after import retry_after
from airflow_batch_provider.local.engines.base import Engine, Reply, error_body

if TYPE_CHECKING:
    import httpx

UPSTREAM_SECONDS = 600.0
_LONGEST_WAIT = 300.0


class UpstreamEngine(Engine):
    """Sends requests to another server.

    :param base_url: its address, ``/v1`` included where it has that.
    :param key: its bearer token.
    :param slots: connections at a time.
    :param timeout: seconds that one answer may take.
    """

    name: ClassVar[str] = "upstream"

    def __init__(
        self, base_url: str, *, key: str | None = None, slots: int = 4, timeout: float = UPSTREAM_SECONDS
    ) -> None:
        import httpx

        self._key = (key or "").encode()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=slots, max_keepalive_connections=slots)
        # A row waits for a connection as long as it takes.
        patience = httpx.Timeout(timeout, connect=min(10.0, timeout), pool=None)
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/", headers=headers, limits=limits, timeout=patience
        )

    @override
    async def answer(self, endpoint: str, body: JSON) -> Reply:
        import httpx

        path = endpoint.removeprefix("/v1/")
        try:
            response = await self._client.post(
                path, content=orjson.dumps(body), headers={"content-type": "application/json"}
            )
        except httpx.TimeoutException:
            return Reply(504, error_body("The upstream did not answer in time.", kind="server_error"))
        except httpx.HTTPError as error:
            message = f"The upstream could not be reached: {type(error).__name__}."
            return Reply(503, error_body(message, kind="server_error"))
        answered = _decoded(response.content)
        if answered is not None and response.is_success:
            return Reply(_status_inside(answered) or response.status_code, answered)
        if response.is_success:
            return Reply(502, error_body("The upstream's answer is not a JSON object.", kind="server_error"))
        content = response.content.replace(self._key, b"***") if self._key else response.content
        answered = _decoded(content)
        if answered is None or not isinstance(answered.get("error"), dict):
            answered = error_body(content.decode("utf-8", "replace")[:1_000], kind="upstream_error")
        return Reply(response.status_code, answered, _wait(response.headers))

    @override
    async def models(self) -> list[str]:
        import httpx

        try:
            response = await self._client.get("models")
        except httpx.HTTPError:
            return []
        listed = _decoded(response.content) or {}
        return [item["id"] for item in listed.get("data") or [] if isinstance(item, dict) and "id" in item]

    @override
    async def aclose(self) -> None:
        await self._client.aclose()


def _status_inside(answered: dict[str, Any]) -> int | None:
    """The status of an error that came as 200, as gateways send one after they have begun to answer."""
    error = answered.get("error")
    if not isinstance(error, dict) or answered.keys() & {"choices", "data", "output", "results"}:
        return None
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else 502


def _decoded(content: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _wait(headers: httpx.Headers) -> float | None:
    """Seconds to wait, at most what one row is worth waiting for."""
    seconds = retry_after(headers)
    return None if seconds is None else min(seconds, _LONGEST_WAIT)
