"""Gateways that speak OpenAI's wire: rows of data over one backend.

TrueFoundry (docs): ``Authorization: Bearer``, ``x-tfy-provider-name`` on every call, batch files of at most 50 MB.
Portkey (its open-source gateway, run): ``x-portkey-*`` headers; ids come percent-encoded; times in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from airflow_batch_provider.backends.gateways.cloud_place import Behind, CloudPlace
from airflow_batch_provider.backends.gateways.clouds import CLOUDS, CloudBackend, missing_of, place_headers
from airflow_batch_provider.backends.wire.openai import OpenAIBackend
from airflow_batch_provider.backends.wire.route import Route, WireFacts
from airflow_batch_provider.core.provider_facts import ProviderFacts
from airflow_batch_provider.core.records import ModelRules


@dataclass(frozen=True, slots=True)
class Gateway:
    """How a gateway is spoken to.

    :param name: the connection type.
    :param prefix: how its headers begin.
    :param ascii_only: whether its upload corrupts UTF-8 at chunk borders.
    """

    name: str
    prefix: str
    ascii_only: bool = False


TRUEFOUNDRY = Gateway("truefoundry_batch", "x-tfy-")
PORTKEY = Gateway("portkey_batch", "x-portkey-", ascii_only=True)

PORTKEY_PROVIDERS: dict[str, Behind] = {
    "openai": "openai",
    "azure-openai": "azure_openai",
    "bedrock": "bedrock",
    "vertex-ai": "vertex_ai",
}
_NO_PLACE = CloudPlace()


def _facts(
    gateway: Gateway,
    provider: ProviderFacts,
    behind: Behind,
    missing: list[str],
    identity: Mapping[str, str],
    body: Any,
    place: CloudPlace = _NO_PLACE,
) -> WireFacts:
    if behind in CLOUDS:
        facts = {"region": place.region, "bucket": place.bucket, "project": place.project, "role_arn": place.role_arn}
        identity = {**identity, **{name: value for name, value in facts.items() if value}}
    return WireFacts(
        gateway.name,
        replace(provider, limits=provider.limits.within(place.min_rows, place.max_rows, place.max_bytes)),
        missing=tuple(missing),
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
    providers: Mapping[Behind, ProviderFacts],
    behind: Behind = "openai",
    azure_api_version: str | None = None,
    place: CloudPlace = _NO_PLACE,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    models: ModelRules | None = None,
) -> OpenAIBackend:
    """A backend for one provider integration of a TrueFoundry gateway.

    :param base_url: e.g. ``https://{controlPlaneUrl}/api/llm``.
    :param provider_name: the integration's name, sent with every call.
    :param providers: what is known of those that may be behind it.
    :param behind: what the integration is.
    :param azure_api_version: needed when ``behind`` is ``azure_openai``.
    :param place: bucket, region and role, when ``behind`` is ``bedrock`` or ``vertex_ai``.
    :param extra_headers: further headers, e.g. other ``x-tfy-*``.
    """
    extra = {key.lower(): value for key, value in (extra_headers or {}).items()}
    missing = []
    if not base_url:
        missing.append(
            "the gateway's base URL is missing; set the connection's host to https://{controlPlaneUrl}/api/llm"
        )
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
        **_place_headers(TRUEFOUNDRY, behind, place),
        **extra,
    }
    if cloud := CLOUDS.get(behind):
        missing += missing_of(cloud, TRUEFOUNDRY.prefix, headers, place, extra_body or {}, signs=False)
    identity = {"provider": provider_name or extra.get("x-tfy-provider-name", "")}
    facts = _facts(TRUEFOUNDRY, providers[behind], behind, missing, identity, extra_body, place)
    route = _route(base_url, headers)
    if cloud:
        return CloudBackend(route, facts, models, cloud=cloud, place=place, prefix=TRUEFOUNDRY.prefix)
    return OpenAIBackend(route, facts, models)


def portkey_backend(
    base_url: str,
    api_key: str,
    *,
    providers: Mapping[Behind, ProviderFacts],
    provider: str | None = None,
    virtual_key: str | None = None,
    config: str | None = None,
    bearer: str | None = None,
    behind: Behind = "openai",
    places: Mapping[str, CloudPlace] = MappingProxyType({}),
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    models: ModelRules | None = None,
) -> OpenAIBackend:
    """A backend for one provider behind a Portkey gateway.

    :param base_url: ``https://api.portkey.ai/v1`` or the gateway's own.
    :param api_key: the Portkey key, sent as ``x-portkey-api-key``; may be empty for a self-hosted gateway.
    :param providers: what is known of those that may be behind it.
    :param provider: ``openai``, ``azure-openai``, ``bedrock``, ``vertex-ai`` or an integration ``@slug``.
    :param virtual_key: a virtual key instead of a provider.
    :param behind: what a slug, virtual key or config leads to; a plain provider name speaks for itself.
    :param config: a config id or JSON instead of a provider.
    :param bearer: the provider's own key, or the Portkey key where the gateway requires that.
    :param places: bucket, region and role of ``bedrock`` and ``vertex_ai``.
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
    place = places.get(behind, _NO_PLACE)
    is_own = named in PORTKEY_PROVIDERS and behind in CLOUDS
    if not base_url:
        missing.append(
            "the gateway's base URL is missing; set the connection's host, e.g. to https://api.portkey.ai/v1"
        )
    if not is_own and not api_key and not bearer and not {"x-portkey-api-key", "authorization"} & extra.keys():
        missing.append("the key is missing; set the Portkey key as the password, or the provider's as bearer")
    if not any({**chosen, **extra}.get(name) for name in chosen):
        missing.append(
            "none of provider, virtual_key and config is set; set one, it selects the provider behind the gateway"
        )
    headers = {
        "x-portkey-api-key": api_key,
        "authorization": f"Bearer {bearer}" if bearer else None,
        **chosen,
        **_place_headers(PORTKEY, behind, place),
        **extra,
    }
    if cloud := CLOUDS.get(behind):
        # A slug, virtual key or config brings credentials and region with it, a plain name nothing.
        missing += missing_of(cloud, PORTKEY.prefix, headers, place, extra_body or {}, signs=is_own)
    facts = _facts(PORTKEY, providers[behind], behind, missing, {"provider": named}, extra_body, place)
    route = _route(base_url, headers)
    if cloud:
        return CloudBackend(route, facts, models, cloud=cloud, place=place, prefix=PORTKEY.prefix)
    return OpenAIBackend(route, facts, models)


def _place_headers(gateway: Gateway, behind: Behind, place: CloudPlace) -> Mapping[str, str | None]:
    cloud = CLOUDS.get(behind)
    return place_headers(cloud, gateway.prefix, place) if cloud else {}


def _route(base_url: str, headers: Mapping[str, str | None]) -> Route:
    return Route(base_url.rstrip("/"), tuple((name, value) for name, value in headers.items() if value))
