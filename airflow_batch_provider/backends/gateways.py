"""Gateways that speak OpenAI's wire: rows of data over one backend.

TrueFoundry (docs): ``Authorization: Bearer``, ``x-tfy-provider-name`` on every call, batch files of at most 50 MB.
Portkey (its open-source gateway, run): ``x-portkey-*`` headers; ids come percent-encoded; times in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

from airflow_batch_provider.backends.azure_openai import AZURE_LIMITS, AZURE_URLS
from airflow_batch_provider.backends.openai import OPENAI_LIMITS, OpenAIBackend, Route, WireFacts
from airflow_batch_provider.core.records import Limits, ModelRules

Behind: TypeAlias = Literal["openai", "azure_openai"]


@dataclass(frozen=True, slots=True)
class ProviderBehind:
    """What a provider behind a gateway takes: it gets the file as it was uploaded."""

    limits: Limits
    urls: Mapping[str, str]


BEHIND: dict[Behind, ProviderBehind] = {
    "openai": ProviderBehind(OPENAI_LIMITS, {}),
    "azure_openai": ProviderBehind(AZURE_LIMITS, AZURE_URLS),
}


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway's facts.

    :param max_bytes: its own limit of a batch file, None where it has none.
    :param ascii_only: whether its upload corrupts UTF-8 at chunk borders.
    """

    name: str
    source: str
    max_bytes: int | None = None
    ascii_only: bool = False


TRUEFOUNDRY = Gateway("truefoundry_batch", "TrueFoundry Files API: batch .jsonl of at most 50 MB", max_bytes=50_000_000)
PORTKEY = Gateway("portkey_batch", "Portkey passes files through", ascii_only=True)


PORTKEY_PROVIDERS: dict[str, Behind] = {"openai": "openai", "azure-openai": "azure_openai"}
_TRANSLATED = frozenset({"bedrock", "vertex-ai"})
"""Providers whose batches Portkey translates to another shape; they are reached by other means."""


class TrueFoundryBackend(OpenAIBackend):
    """Batches through a TrueFoundry AI gateway."""

    name: ClassVar[str] = TRUEFOUNDRY.name


class PortkeyBackend(OpenAIBackend):
    """Batches through a Portkey gateway, hosted or self-hosted."""

    name: ClassVar[str] = PORTKEY.name


def _facts(gateway: Gateway, behind: Behind, missing: list[str], identity: Mapping[str, str], body: Any) -> WireFacts:
    provider = BEHIND[behind]
    size = min(provider.limits.max_bytes, gateway.max_bytes or provider.limits.max_bytes)
    source = f"{gateway.source}; {provider.limits.source}"
    return WireFacts(
        gateway.name,
        limits=replace(provider.limits, max_bytes=size, source=source),
        missing=tuple(missing),
        job_urls=provider.urls,
        line_urls=provider.urls,
        ascii_only=gateway.ascii_only,
        output_endpoint=True,
        identity={"behind": behind, **identity},
        extra_body=body or {},
    )


def truefoundry_backend(
    base_url: str,
    api_key: str,
    provider_name: str | None,
    *,
    behind: Behind = "openai",
    azure_api_version: str | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    models: ModelRules | None = None,
) -> TrueFoundryBackend:
    """A backend for one provider integration of a TrueFoundry gateway.

    :param base_url: e.g. ``https://{controlPlaneUrl}/api/llm``.
    :param provider_name: the integration's name, sent with every call.
    :param behind: what the integration is.
    :param azure_api_version: needed when ``behind`` is ``azure_openai``.
    :param extra_headers: further headers, e.g. other ``x-tfy-*``.
    """
    extra = {key.lower(): value for key, value in (extra_headers or {}).items()}
    missing = []
    if not base_url:
        missing.append("the gateway's base URL is missing; set the host to https://{controlPlaneUrl}/api/llm")
    if not api_key and "authorization" not in extra:
        missing.append("the API key is missing; set a personal or virtual account token as the password")
    if not provider_name and "x-tfy-provider-name" not in extra:
        missing.append("provider_name is missing; name the provider integration (x-tfy-provider-name)")
    if behind == "azure_openai" and not azure_api_version and "x-tfy-azure-api-version" not in extra:
        missing.append("azure_api_version is missing; set the version of the batch deployment, e.g. 2024-12-01-preview")
    headers = {
        "authorization": f"Bearer {api_key}" if api_key else None,
        "x-tfy-provider-name": provider_name,
        "x-tfy-azure-api-version": azure_api_version,
        **extra,
    }
    identity = {"provider": provider_name or extra.get("x-tfy-provider-name", "")}
    facts = _facts(TRUEFOUNDRY, behind, missing, identity, extra_body)
    return TrueFoundryBackend(_route(base_url, headers), facts, models)


def portkey_backend(
    base_url: str,
    api_key: str,
    *,
    provider: str | None = None,
    virtual_key: str | None = None,
    config: str | None = None,
    bearer: str | None = None,
    behind: Behind = "openai",
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    models: ModelRules | None = None,
) -> PortkeyBackend:
    """A backend for one provider behind a Portkey gateway.

    :param base_url: ``https://api.portkey.ai/v1`` or the gateway's own.
    :param api_key: the Portkey key, sent as ``x-portkey-api-key``; may be empty for a self-hosted gateway.
    :param provider: ``openai``, ``azure-openai`` or an integration ``@slug``.
    :param virtual_key: a virtual key instead of a provider.
    :param behind: what a slug, virtual key or config leads to; a plain provider name speaks for itself.
    :param config: a config id or JSON instead of a provider.
    :param bearer: the provider's own key, or the Portkey key where the gateway wants it so.
    :param extra_headers: further headers, e.g. other ``x-portkey-*``.
    """
    extra = {key.lower(): value for key, value in (extra_headers or {}).items()}
    chosen = {
        "x-portkey-provider": provider,
        "x-portkey-virtual-key": virtual_key,
        "x-portkey-config": config,
    }
    missing = []
    named = provider or extra.get("x-portkey-provider") or ""
    behind = PORTKEY_PROVIDERS.get(named, behind)
    if named in _TRANSLATED:
        missing.append(f"provider {named} is not supported behind Portkey; openai and azure-openai are")
    if not base_url:
        missing.append("the gateway's base URL is missing; set the host, e.g. to https://api.portkey.ai/v1")
    if not api_key and not bearer and not {"x-portkey-api-key", "authorization"} & extra.keys():
        missing.append("the key is missing; set the Portkey key as the password, or the provider's as bearer")
    if not any({**chosen, **extra}.get(name) for name in chosen):
        missing.append("none of provider, virtual_key and config is set; one of them says which provider is asked")
    headers = {
        "x-portkey-api-key": api_key,
        "authorization": f"Bearer {bearer}" if bearer else None,
        **chosen,
        **extra,
    }
    facts = _facts(PORTKEY, behind, missing, {"provider": provider or ""}, extra_body)
    return PortkeyBackend(_route(base_url, headers), facts, models)


def _route(base_url: str, headers: Mapping[str, str | None]) -> Route:
    return Route(base_url.rstrip("/"), tuple((name, value) for name, value in headers.items() if value))
