"""Runs the application: in the foreground for ``airflow-batch serve``, in a thread for tests."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_batch_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp
    from typing_extensions import Self

_START_SECONDS = 30.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror}; give another --port") from error
    return bound


def make_server(app: ASGIApp, on_ready: Callable[[], None]) -> uvicorn.Server:
    """A uvicorn server that says when it answers."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, proxy_headers=False, lifespan="on", timeout_graceful_shutdown=2
    )
    return Server(config)


def serve(app: ASGIApp, host: str, port: int, notice: str = "") -> None:
    """Serve until SIGTERM or SIGINT, and end cleanly then.

    :param notice: printed after the address.
    """
    bound = listen(host, port)
    number = bound.getsockname()[1]
    said = "\n".join(filter(None, (f"listening on http://{_in_url(host)}:{number}/v1", notice)))
    server = make_server(app, lambda: print(said, flush=True))
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)  # uvicorn raises the signal again when it is done; by then all is closed
    server.run(sockets=[bound])


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class LocalServer:
    """An application in a thread, on a free loopback port, for as long as the ``with`` block lasts.

    :param app: what to serve.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._socket = listen("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.origin}/v1"
        self._ready = threading.Event()
        self._server = make_server(app, self._ready.set)
        self._thread = threading.Thread(target=self._run, name=f"batch-server-{self.port}", daemon=True)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._ready.set()

    def start(self) -> Self:
        """Start, and return when calls are answered."""
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if not self._server.started:
            raise ConfigurationError("The server did not start; its log has the reason")
        return self

    def stop(self) -> None:
        """Stop, and return when the thread has ended."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
