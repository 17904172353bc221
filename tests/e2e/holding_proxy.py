"""A proxy that keeps the answer to a create back until it is told to let go."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class HoldingProxy:
    """Passes every call on to ``target``; while ``holding`` is set, the answer to ``POST /batches`` waits.

    :param target: the server's base URL, ending in ``/v1``.
    """

    def __init__(self, target: str) -> None:
        self.holding = threading.Event()
        self.created = threading.Event()
        self.released = threading.Event()
        proxy, upstream = self, httpx.Client(base_url=target.removesuffix("/v1"), timeout=60)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kept = {
                    name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
                }
                answer = upstream.request(self.command, self.path, content=body, headers=kept)
                if self.command == "POST" and self.path.endswith("/batches") and proxy.holding.is_set():
                    proxy.created.set()
                    proxy.released.wait(60)
                try:
                    self.send_response(answer.status_code)
                    self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)
                except OSError:  # the caller was killed
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = forward

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop, and let go of whoever waits."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
