"""A server of images on loopback, and a prepare operator that fetches them."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from airflow_batch_provider.operators.prepare import BatchInferencePrepareOperator

PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 400
JPEG, GIF, WEBP = b"\xff\xd8\xff\xe0" + b"j" * 50, b"GIF89a" + b"g" * 50, b"RIFF\x10\x00\x00\x00WEBPVP8 "
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is on it?"},
            {"type": "image_url", "image_url": {"url": "{{ row.image }}", "detail": "low"}},
        ],
    }
]


class Images:
    """A server of images on loopback, or of whatever a path was told to answer."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str]] = []
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def tell(self, path: str, *turns: Any, **headers: str) -> str:
        """Answer a path: bytes, a status, ``(status, headers)``; one turn after the other, the last for good."""
        left = list(turns)

        def answer(call: BaseHTTPRequestHandler) -> None:
            with self._lock:
                turn = left.pop(0) if len(left) > 1 else left[0]
            status, data = (turn, b"no") if isinstance(turn, int) else (200, turn)
            more = {name.replace("_", "-"): value for name, value in headers.items()}
            if isinstance(turn, tuple):
                status, more, data = turn[0], turn[1], b""
            call.send_response(status)
            for name, value in {"content-type": "image/png", "content-length": str(len(data)), **more}.items():
                call.send_header(name, value)
            call.end_headers()
            call.wfile.write(data)

        self.answers[path] = answer
        return self.origin + path

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        images = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with images._lock:
                    images.asked.append((self.path, str(self.headers["host"])))
                    images._now += 1
                    images.most_at_once = max(images.most_at_once, images._now)
                try:
                    images.answers[self.path](self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with images._lock:
                        images._now -= 1

            def log_message(self, *_: Any) -> None:
                """Silent."""

        return Handler

    def __enter__(self) -> Images:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class FakeTI:
    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed = (key, value)


OPTIONS: dict[str, Any] = {"private_hosts": ["127.0.0.1"], "pause": 0.01}


def operator(folder: Path, urls: list[str], **arguments: Any) -> BatchInferencePrepareOperator:
    rows = "".join(json.dumps({"id": n, "image": url}) + "\n" for n, url in enumerate(urls))
    (folder / "rows.jsonl").write_text(rows)
    given = {
        "source": str(folder / "rows.jsonl"),
        "output_path": str(folder / "requests.jsonl"),
        "messages": MESSAGES,
        "custom_id": "r-{{ row.id }}",
        "body": {"max_tokens": 50},
        "download_images": OPTIONS,
    }
    return BatchInferencePrepareOperator(task_id="prepare", allow_local_path=True, **(given | arguments))


def prepared(task: BatchInferencePrepareOperator) -> list[str]:
    """The image addresses of the requests that were written."""
    task.execute({"ti": FakeTI()})  # type: ignore[typeddict-item]
    lines = Path(task.output_path).read_bytes().split(b"\n")[:-1]
    requests = [json.loads(line) for line in lines]
    assert [request["custom_id"] for request in requests] == [f"r-{n}" for n in range(len(requests))]
    return [request["body"]["messages"][0]["content"][1]["image_url"]["url"] for request in requests]


def data_url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
