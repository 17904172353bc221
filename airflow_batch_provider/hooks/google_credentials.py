"""From a connection's fields to Google credentials; nothing here calls Google before they are first used."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.hooks.aws_credentials import check_other, need_package

Credentials: TypeAlias = Any
"""``google.auth.credentials.Credentials``; google-auth is imported when they are made."""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_HELP = "a service account's key has type service_account, client_email, private_key and token_uri"


@dataclass(frozen=True, slots=True)
class GoogleAccess:
    """Who calls Google: a token, else a service account's key, else its file, else a ``google_cloud_platform``
    connection, else the application default credentials.

    :param conn_id: the connection that all this was read from, for messages.
    :param keyfile: the key, as an object or its JSON.
    :param impersonation_chain: accounts to take on, each by the one before it; the last one calls.
    """

    conn_id: str
    token: str | None = field(default=None, repr=False)
    keyfile: Mapping[str, Any] | str | None = field(default=None, repr=False)
    key_path: str | None = None
    gcp_conn_id: str | None = None
    impersonation_chain: Sequence[str] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """What is wrong with the key, without showing any of it."""
        if self.token or not self.keyfile:
            return ()
        try:
            _key(self.keyfile)
        except ValueError as error:
            return (f"the service account's key (password or keyfile_dict) {error}; {_HELP}",)
        return ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The parts of the key that no log may show."""
        if not self.keyfile:
            return ()
        texts = [self.keyfile] if isinstance(self.keyfile, str) else []
        try:
            key = json.loads(self.keyfile) if isinstance(self.keyfile, str) else self.keyfile
        except ValueError:
            return tuple(texts)
        members = [key.get(name) for name in ("private_key", "private_key_id")] if isinstance(key, Mapping) else []
        texts += [member for member in members if isinstance(member, str)]
        # A key has several lines; where it is shown inside of JSON or a repr, their ends are escaped.
        return tuple(dict.fromkeys([*texts, *(text.replace("\n", "\\n") for text in texts)]))

    def project(self) -> str | None:
        """The project that the credentials belong to, as far as it is known without a call."""
        try:
            if self.token:
                return None
            if self.keyfile:
                return str(_key(self.keyfile).get("project_id") or "") or None
            if self.key_path:
                return _project_in(self.key_path)
        except (OSError, ValueError):
            return None  # check_route or the first call says what is wrong
        if self.gcp_conn_id:
            return None
        # As google.auth.default, without its question to the metadata server.
        named = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("GCLOUD_PROJECT")
        path = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        try:
            return named or (_project_in(path) if path else None)
        except (OSError, ValueError):
            return None


def credentials_factory(access: GoogleAccess) -> Callable[[], Credentials]:
    """A function that gives the same credentials each time, made at the first call.

    :raises ConfigurationError: the function does, when there are none to be found.
    """
    lock = threading.Lock()

    @functools.cache
    def made() -> Credentials:
        need_package("google.auth", "vertex")
        source = _source(access)
        return _impersonated(access, source) if access.impersonation_chain else source

    def credentials() -> Credentials:
        with lock:
            return made()

    return credentials


def _source(access: GoogleAccess) -> Credentials:
    if access.token:
        from google.oauth2.credentials import Credentials as Token

        return Token(access.token)
    if access.keyfile or access.key_path:
        return _service_account(access)
    if access.gcp_conn_id:
        return _official(access)
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        return google.auth.default(scopes=SCOPES)[0]
    except GoogleAuthError:
        raise ConfigurationError(
            f"Connection {access.conn_id!r}: there are no Google credentials; set keyfile_dict, key_path or "
            "gcp_conn_id, or run where application default credentials are found (GOOGLE_APPLICATION_CREDENTIALS, a "
            "service account)"
        ) from None


def _service_account(access: GoogleAccess) -> Credentials:
    from google.oauth2 import service_account

    # A key pasted into the wrong field is not told, a path is.
    path = str(access.key_path)
    named = "key_path" if len(path) > 300 or not path.isprintable() or "{" in path else f"key_path {path}"
    name = "password or keyfile_dict" if access.keyfile else named
    try:
        key = _key(access.keyfile) if access.keyfile else _key(_read(str(access.key_path)))
        return service_account.Credentials.from_service_account_info(key, scopes=SCOPES)
    except OSError as error:
        raise ConfigurationError(f"Connection {access.conn_id!r}: {name}: {error.strerror or error}") from None
    except ValueError as error:
        # google-auth's words may show what it could not read.
        said = str(error) if isinstance(error, _WrongKeyError) else "holds no private key that can be read"
        raise ConfigurationError(f"Connection {access.conn_id!r}: {name} {said}; {_HELP}") from None


def _official(access: GoogleAccess) -> Credentials:
    """The credentials of a ``google_cloud_platform`` connection, as the google provider makes them."""
    try:
        from airflow.providers.google.common.hooks.base_google import GoogleBaseHook  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ConfigurationError(
            f"Connection {access.conn_id!r}: gcp_conn_id needs the google provider; "
            "pip install apache-airflow-providers-google"
        ) from None
    from google.auth.exceptions import GoogleAuthError

    check_other(access.conn_id, "gcp_conn_id", str(access.gcp_conn_id), "google_cloud_platform")
    try:
        return GoogleBaseHook(gcp_conn_id=access.gcp_conn_id).get_credentials()
    except GoogleAuthError as error:
        raise ConfigurationError(f"Connection {access.gcp_conn_id!r}: {error}") from None


def _impersonated(access: GoogleAccess, source: Credentials) -> Credentials:
    from google.auth import impersonated_credentials

    *delegates, target = access.impersonation_chain
    return impersonated_credentials.Credentials(
        source_credentials=source, target_principal=target, target_scopes=list(SCOPES), delegates=delegates
    )


class _WrongKeyError(ValueError):
    """What is wrong with a key, in words that show none of it."""


def _key(text: Mapping[str, Any] | str) -> dict[str, Any]:
    try:
        key = json.loads(text) if isinstance(text, str) else dict(text)
    except ValueError:
        raise _WrongKeyError("is not JSON") from None
    if not isinstance(key, dict):
        raise _WrongKeyError("is not a JSON object")
    if key.get("type", "service_account") != "service_account":
        raise _WrongKeyError(
            "is not a service account key but other credentials; for those set GOOGLE_APPLICATION_CREDENTIALS "
            "on the workers, or gcp_conn_id"
        )
    lacking = [name for name in ("client_email", "private_key", "token_uri") if not isinstance(key.get(name), str)]
    if lacking:
        raise _WrongKeyError(f"lacks {', '.join(lacking)}")
    return key


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _project_in(path: str) -> str | None:
    found = json.loads(_read(path))
    return str(found.get("project_id") or "") or None if isinstance(found, dict) else None
