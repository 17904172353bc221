"""Portkey and TrueFoundry over Bedrock and Vertex AI: who signs how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from typing_extensions import override

from airflow_batch_provider.local.policy import MEBIBYTE
from airflow_batch_provider.testing.calls import Answer, Call
from airflow_batch_provider.testing.cloud_flavor import CloudFlavor


class PortkeyCloud(CloudFlavor):
    """Portkey over a cloud, by its plain name and the cloud's own credentials, or by a slug, virtual key or config."""

    name = "portkey"

    @override
    def signs_itself(self, call: Call) -> bool:
        return self.header(call, "provider") == self.behind

    @override
    def refuse(self, call: Call) -> Answer | None:
        provider = self.header(call, "provider")
        if not provider and not self.header(call, "virtual-key") and not self.header(call, "config"):
            message = "Either x-portkey-config or x-portkey-provider header is required"
            return Answer.of(400, {"status": "failure", "message": message})
        if self.signs_itself(call):
            given = f"{self.header(call, 'aws-secret-access-key')} {self.header(call, 'vertex-service-account-json')}"
            if self.key not in given and call.bearer != self.key:
                message = "The security token included in the request is invalid: check the key."
                return self._failure(403 if self.is_bedrock else 401, message)
        elif self.key not in {self.header(call, "api-key"), call.bearer}:
            return Answer.of(401, {"status": "failure", "message": "Portkey Error: Invalid API Key"})
        return super().refuse(call)


class TrueFoundryCloud(CloudFlavor):
    """TrueFoundry over a cloud, by the name of an integration."""

    name = "truefoundry"
    base = "/api/llm"
    prefix = "x-tfy-"
    headers: ClassVar[Mapping[str, str]] = {"x-tfy-provider-name": "cloud-main"}
    maximum = 50 * MEBIBYTE

    @override
    def refuse(self, call: Call) -> Answer | None:
        if call.bearer != self.key:
            message = "Invalid API key: a personal or virtual access token is needed."
            return Answer.of(401, {"error": {"message": message}})
        if not self.header(call, "provider-name"):
            message = "Header x-tfy-provider-name is required for files and batches."
            return Answer.of(400, {"error": {"message": message}})
        return super().refuse(call)


CLOUD_FLAVORS: Mapping[str, type[CloudFlavor]] = {kind.name: kind for kind in (PortkeyCloud, TrueFoundryCloud)}
