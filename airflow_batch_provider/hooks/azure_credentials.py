"""From a connection's fields to tokens of Microsoft Entra ID; nothing here calls Entra before the first call.

``azure-identity`` keeps a token until shortly before its end and then fetches the next, so for a wait of days
it is enough to request one before every call.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airflow_batch_provider.backends.wire.azure_openai import SignIn
from airflow_batch_provider.connections.azure_openai import SCOPE
from airflow_batch_provider.core.errors import (
    AuthenticationError,
    BatchInferenceError,
    ConfigurationError,
    ProviderError,
)

Credential: TypeAlias = Any
"""``azure.core.credentials.TokenCredential``; azure-identity is imported when one is made."""

_INSTALL = "pip install 'airflow-batch-provider[azure]'"


@dataclass(frozen=True, slots=True)
class EntraAccess:
    """Who signs in: an application with its secret, else a managed identity, else what DefaultAzureCredential finds.

    :param conn_id: the connection that all this was read from, for messages.
    :param client_id: of the application; with ``tenant_id`` and ``client_secret``.
    :param authority_host: another sign-in server than the public cloud's.
    """

    conn_id: str
    tenant_id: str | None = None
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    managed_identity_client_id: str | None = None
    scope: str = SCOPE
    authority_host: str | None = None

    @property
    def is_application(self) -> bool:
        """Whether an application signs in by its secret."""
        return bool(self.tenant_id or self.client_id)

    @property
    def principal(self) -> str:
        """Who signs in, in words."""
        if self.is_application:
            return f"application {self.client_id}"
        if self.managed_identity_client_id:
            return f"managed identity {self.managed_identity_client_id}"
        return "what DefaultAzureCredential finds on this machine"

    @property
    def missing(self) -> tuple[str, ...]:
        """What is missing or too much, with remedies."""
        found = []
        if self.is_application:
            lacking = {
                "tenant_id is missing; set it, or clear the login to sign by key": self.tenant_id,
                "the client id is missing; set the application's id as the login": self.client_id,
                "the client secret is missing; set it as the password": self.client_secret,
            }
            found += [text for text, value in lacking.items() if not value]
            if self.managed_identity_client_id:
                found.append("managed_identity_client_id and an application are set; clear one of them")
        elif self.client_secret:
            named = "managed_identity_client_id" if self.managed_identity_client_id else "entra"
            found.append(f"{named} and a key are set; clear one of them")
        if not _is_installed():
            found.append(f"signing in with Microsoft Entra ID needs azure-identity; {_INSTALL}")
        return tuple(found)


def sign_in(access: EntraAccess) -> SignIn:
    """How the backend signs; the credential is made at the first call."""
    return SignIn(_token_source(access), access.principal, access.missing)


def _token_source(access: EntraAccess) -> Callable[[], str]:
    lock = threading.Lock()
    made: list[Credential] = []
    worked = False

    def token() -> str:
        nonlocal worked
        with lock:
            if not made:
                made.append(_credential(access))
            from azure.core.exceptions import AzureError

            try:
                value = str(made[0].get_token(access.scope).token)
            except AzureError as error:
                raise _typed(access, error, worked) from None
            worked = True
            return value

    return token


def _credential(access: EntraAccess) -> Credential:
    try:
        from azure import identity
    except ImportError:
        raise ConfigurationError(
            f"Connection {access.conn_id!r}: azure-identity is not installed; {_INSTALL}"
        ) from None
    # Only Microsoft's own public cloud can say which other authorities there are; one that was named is believed.
    named = {"authority": access.authority_host, "disable_instance_discovery": True} if access.authority_host else {}
    try:
        if access.is_application:
            return identity.ClientSecretCredential(
                str(access.tenant_id), access.client_id, access.client_secret, **named
            )
        if access.managed_identity_client_id:
            return identity.ManagedIdentityCredential(client_id=access.managed_identity_client_id)
        return identity.DefaultAzureCredential(**named)
    except ValueError as error:
        raise ConfigurationError(f"Connection {access.conn_id!r}: {_shown(access, error)}") from None


def _typed(access: EntraAccess, error: Exception, worked: bool) -> BatchInferenceError:
    """No token could be had, so nothing was sent.

    :param worked: that there was one before: then it is the sign-in server that is out of reach for a while, which
        azure-identity tells by the same class as a wrong secret.
    """
    from azure.core.exceptions import ClientAuthenticationError

    text = f"Microsoft Entra ID gave no token to {access.principal}: {_shown(access, error)}"
    if worked or not isinstance(error, ClientAuthenticationError):
        return ProviderError(text, ambiguous=False)
    if access.is_application:
        remedy = "check tenant_id, login (client id) and password (client secret)"
    elif access.managed_identity_client_id:
        remedy = "is that identity assigned to this machine?"
    else:
        remedy = "set an API key, a managed identity or an application, or give this machine an identity"
    return AuthenticationError(f"{text}; connection {access.conn_id!r}: {remedy}")


def _shown(access: EntraAccess, error: Exception) -> str:
    text = " ".join(str(error).split())
    if access.client_secret:
        text = text.replace(access.client_secret, "***")
    return text[:1_000]


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("azure.identity") is not None
    except ImportError:
        return False
