"""Connections whose every read and write ends by one moment, however little each of them brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def bounded(left: Callable[[], float]) -> Any:
    """A network backend for ``httpcore``.

    :param left: seconds until the end, below 0 after it.
    """
    import httpcore

    def seconds() -> float:
        rest = left()
        if rest <= 0:
            raise httpcore.ReadTimeout("the whole answer took too long")
        return rest

    class Stream(httpcore.NetworkStream):
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            data: bytes = self._inner.read(max_bytes, seconds())
            return data

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._inner.write(buffer, seconds())

        def close(self) -> None:
            self._inner.close()

        def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
            return Stream(self._inner.start_tls(ssl_context, server_hostname, seconds()))

        def get_extra_info(self, info: str) -> Any:
            return self._inner.get_extra_info(info)

    class Network(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, timeout: float | None = None, **more: Any) -> Any:  # type: ignore[override]
            return Stream(super().connect_tcp(host, port, timeout=seconds(), **more))

    return Network()
