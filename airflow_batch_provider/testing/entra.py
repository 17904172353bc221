"""A fake Microsoft Entra ID on loopback: the real azure-identity gets its tokens here, and none of them lasts.

It plays the identity endpoint of Azure App Service, over http, for managed identities and DefaultAzureCredential, and
the authority of one tenant for applications, over https where a certificate is given, as azure-identity wants it.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from airflow_batch_provider.core.records import JSON

if TYPE_CHECKING:
    from typing_extensions import Self

AUDIENCE = "https://cognitiveservices.azure.com"
TENANT = "0f0e0d0c-0000-4000-8000-000000000001"
CLIENT_ID = "0f0e0d0c-0000-4000-8000-000000000002"
IDENTITY = "0f0e0d0c-0000-4000-8000-000000000003"


class FakeEntra:
    """Gives tokens, and knows which of them are valid now.

    :param certificate: a PEM file of certificate and key, for https.
    :param lifetime: seconds a token lasts; may be changed while it runs.
    :param latency: seconds every answer takes.
    """

    def __init__(self, certificate: Path | None = None, *, lifetime: float = 3600.0, latency: float = 0.0) -> None:
        self.lifetime = lifetime
        self.latency = latency
        self.client_secret = f"client-secret-{secrets.token_hex(8)}"
        self.identity_header = secrets.token_hex(8)
        self.down = False
        """Whether it answers nothing but 503."""
        self.asked: list[JSON] = []
        """What each token was asked for with: ``kind``, ``client_id``, ``resource``."""
        self.tokens: dict[str, tuple[float, str]] = {}
        """From a token to its end and its audience, oldest first."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.origin = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """What App Service puts into the environment of what it runs."""
        return {"IDENTITY_ENDPOINT": f"{self.origin}/msi/token", "IDENTITY_HEADER": self.identity_header}

    def accepts(self, token: str) -> bool:
        """Whether Azure OpenAI would take the token now."""
        end, audience = self.tokens.get(token, (0.0, ""))
        return time.time() < end and audience == AUDIENCE

    def answer(self, path: str, asked: dict[str, str], headers: dict[str, str]) -> tuple[int, JSON]:
        """The answer to one call.

        :param asked: of the query or the form.
        """
        time.sleep(self.latency)
        if self.down:
            return 503, {"error": "temporarily_unavailable", "error_description": "AADSTS90033: try again later."}
        if path == "/msi/token":
            return self._managed(asked, headers)
        if path == f"/{TENANT}/oauth2/v2.0/token":
            return self._application(asked)
        if path.endswith("/.well-known/openid-configuration"):
            return 200, {
                "token_endpoint": f"{self.origin}/{TENANT}/oauth2/v2.0/token",
                "authorization_endpoint": f"{self.origin}/{TENANT}/oauth2/v2.0/authorize",
                "issuer": f"{self.origin}/{TENANT}/v2.0",
            }
        return 404, {"error": "not_found", "error_description": path}

    def _managed(self, asked: dict[str, str], headers: dict[str, str]) -> tuple[int, JSON]:
        if headers.get("x-identity-header") != self.identity_header:
            return 401, {"error": "unauthorized", "error_description": "The identity header is wrong."}
        if asked.get("client_id") not in (None, IDENTITY):
            return 400, {"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found."}
        token = self._issue("managed", asked.get("client_id"), asked["resource"])
        end = str(int(self.tokens[token][0]))
        return 200, {"access_token": token, "expires_on": end, "resource": asked["resource"], "token_type": "Bearer"}

    def _application(self, asked: dict[str, str]) -> tuple[int, JSON]:
        if (asked.get("client_id"), asked.get("client_secret")) != (CLIENT_ID, self.client_secret):
            told = f"AADSTS7000215: Invalid client secret provided for app '{asked.get('client_id')}'."
            return 401, {"error": "invalid_client", "error_description": told, "error_codes": [7000215]}
        token = self._issue("application", CLIENT_ID, asked["scope"].removesuffix("/.default"))
        return 200, {"access_token": token, "expires_in": int(self.lifetime), "token_type": "Bearer"}

    def _issue(self, kind: str, client_id: str | None, resource: str) -> str:
        token = f"entra-token-{secrets.token_hex(12)}"
        self.tokens[token] = (time.time() + self.lifetime, resource)
        self.asked.append({"kind": kind, "client_id": client_id, "resource": resource})
        return token

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(entra: FakeEntra) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._tell(parts.path, parts.query)

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            self._tell(urlsplit(self.path).path, self.rfile.read(length).decode())

        def _tell(self, path: str, fields: str) -> None:
            asked = {name: values[-1] for name, values in parse_qs(fields).items()}
            status, body = entra.answer(path, asked, {name.lower(): value for name, value in self.headers.items()})
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    return Handler
