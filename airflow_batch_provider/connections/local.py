"""The embedded batch server."""

from __future__ import annotations

from dataclasses import replace

from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard, Wire
from airflow_batch_provider.connections.openai import PROVIDER
from airflow_batch_provider.connections.settings import Settings


class LocalSettings(Settings):
    """Extra fields of a ``local_batch`` connection: those of every type."""


CONNECTION = ConnectionType(
    "local_batch",
    "local server",
    LocalSettings,
    {
        "host": Standard(
            "Base URL",
            "http://127.0.0.1:8900/v1",
            "the host is missing; set it to the address that `airflow-batch serve` printed",
        ),
        "password": Standard("Token"),
    },
    summary="`airflow-batch serve`",
    needs="host = the address it prints; password = token",
    example_model="smollm2-135m-instruct",
    hook="airflow_batch_provider.hooks.local.LocalBatchHook",
    facts=replace(
        PROVIDER,
        # The server has one model, so lines need none.
        limits=replace(PROVIDER.limits, model_required=False, source=f"local server; {PROVIDER.limits.source}"),
        price_list=None,
    ),
    wire=Wire(scheme="http", path="/v1"),
    fakes={"local": Fake(same_as="openai")},
    default_conn_id="local_batch",
)
