"""Azure OpenAI: OpenAI's wire with another address, key header and spelling.

Facts from Azure's batch how-to and REST reference (2026): the model of every line is the name of a deployment of type
Global Batch or Data Zone Batch; who signs in with Microsoft Entra ID sends a bearer token.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from typing_extensions import override

from airflow_batch_provider.backends.wire import calls
from airflow_batch_provider.backends.wire.openai import TIMEOUT_SECONDS, OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.core.provider_facts import ProviderFacts
from airflow_batch_provider.core.records import JSON, ModelRules

if TYPE_CHECKING:
    import openai

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?")
_OF_V1 = frozenset({"v1", "preview", "latest"})
"""Microsoft, "Azure OpenAI API version lifecycle": these belong to ``/openai/v1``; below ``/openai`` they answer 404
(openai/openai-python#2584)."""


@dataclass(frozen=True)
class SignIn:
    """Microsoft Entra ID in place of a key.

    :param token: gives a bearer token that is valid now; may block, and raises this package's errors.
    :param identity: who signs in, in words.
    :param missing: fields that are missing, as sentences with their remedy.
    """

    token: Callable[[], str] = field(repr=False)
    identity: str
    missing: tuple[str, ...] = ()


class AzureOpenAIBackend(OpenAIBackend):
    """Batches on Azure OpenAI.

    :param sign_in: where no key signs.
    """

    def __init__(
        self, route: Route, facts: WireFacts, models: ModelRules | None = None, sign_in: SignIn | None = None
    ) -> None:
        super().__init__(route, facts, models)
        self.sign_in = sign_in

    @cached_property
    @override
    def client(self) -> openai.OpenAI:
        """The official client; with Entra it gets the token before every call, so that none grows old."""
        from airflow_batch_provider.backends.wire.client import make_client

        self._refuse_missing()
        return make_client(self.route, TIMEOUT_SECONDS, None if self.sign_in is None else self._token)

    def _token(self) -> str:
        """A token that is valid now, which nothing shows."""
        assert self.sign_in is not None
        token = self.sign_in.token()
        self.hide(token)
        return token

    @override
    async def _caller(self) -> Callable[..., Awaitable[JSON]]:
        """With Entra, one token for a look at all jobs; it is asked for in a thread, because that may take a while."""
        plain = await super()._caller()
        if self.sign_in is None:
            return plain
        token = await asyncio.to_thread(self._token)
        return functools.partial(calls.call, self.route, headers={"authorization": f"Bearer {token}"})

    @override
    def probe(self) -> str:
        """List one batch, and say who signed in."""
        said = super().probe()
        return said if self.sign_in is None else f"{said}; signed in with Microsoft Entra ID as {self.sign_in.identity}"


def azure_backend(
    endpoint: str,
    api_key: str,
    provider: ProviderFacts,
    *,
    api_version: str | None = None,
    models: ModelRules | None = None,
    sign_in: SignIn | None = None,
) -> AzureOpenAIBackend:
    """A backend for one Azure resource.

    :param endpoint: ``https://RESOURCE.openai.azure.com``, or any address below its ``/openai``.
    :param api_key: the resource's key; empty with ``sign_in``.
    :param provider: what is known of Azure's batches.
    :param api_version: None or ``v1`` for the v1 API, ``preview`` or ``latest`` for that API's newer parts, a date such
        as ``2024-10-21`` for the older one.
    """
    base = _resource(endpoint)
    missing = []
    if not base:
        missing.append("the endpoint is missing; set it to https://RESOURCE.openai.azure.com")
    if sign_in is not None:
        missing.extend(sign_in.missing)
    elif not api_key:
        missing.append("the API key is missing; set the resource's key as the password, or entra in the extra")
    version = (api_version or "v1").strip().lower()
    if not (_DATED.fullmatch(version) or version in _OF_V1):
        missing.append(f"api_version {api_version!r} is unknown; leave it empty, or set a date such as 2024-10-21")
    query = () if version == "v1" else (("api-version", version),)
    path = "/openai/v1" if version in _OF_V1 else "/openai"
    signed = (("api-key", api_key),) if api_key and sign_in is None else ()
    route = Route(base and base + path, signed, query)
    facts = WireFacts(
        "azure_openai_batch",
        provider,
        missing=tuple(missing),
        takes_expiry=True,
        checks_chat=True,
    )
    return AzureOpenAIBackend(route, facts, models, sign_in)


def _resource(endpoint: str) -> str:
    """The resource's address, without what Azure's pages show behind it; its host's name may begin with ``openai``."""
    scheme, mark, rest = endpoint.split("?", maxsplit=1)[0].partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}{mark}{host}" + f"/{path}/".split("/openai/")[0].rstrip("/")
