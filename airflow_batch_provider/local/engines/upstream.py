"""Any OpenAI-compatible real-time endpoint (vLLM, Ollama, a gateway), which has a Batch API by this."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import orjson
from typing_extensions import override

from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.local.engines.base import Engine, Reply, error_body

_TIMEOUT = 600.0
_LONGEST_WAIT = 300.0


class UpstreamEngine(Engine):
    """Asks another server.

    :param base_url: its address, ``/v1`` included where it has that.
    :param key: its bearer token.
    :param slots: connections at a time.
    """

    name: ClassVar[str] = "upstream"

    def __init__(self, base_url: str, *, key: str | None = None, slots: int = 4) -> None:
        import httpx

        headers = {"authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=slots, max_keepalive_connections=slots)
        timeout = httpx.Timeout(_TIMEOUT, connect=10, pool=None)  # a row waits for a connection as long as it takes
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/", headers=headers, limits=limits, timeout=timeout
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
        if answered is None and response.is_success:
            return Reply(502, error_body("The upstream's answer is no JSON object.", kind="server_error"))
        if answered is None or (not response.is_success and not isinstance(answered.get("error"), dict)):
            answered = error_body(response.text[:1_000], kind="upstream_error")
        return Reply(response.status_code, answered, _retry_after(response.headers.get("retry-after")))

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


def _decoded(content: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _retry_after(given: str | None) -> float | None:
    """Seconds to wait, from either form of the header; None when it is not there or makes no sense."""
    if not given:
        return None
    try:
        seconds = float(given) if given[0].isdigit() else parsedate_to_datetime(given).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(0.0, seconds), _LONGEST_WAIT)
