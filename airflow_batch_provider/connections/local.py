"""The embedded batch server."""

from __future__ import annotations

from dataclasses import replace

from airflow_batch_provider.backends.wire.route import OPENAI_LIMITS
from airflow_batch_provider.connections.base import ConnectionType, Fake, Standard, Wire
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
    wire=Wire(
        # The server has one model, so lines need none.
        replace(OPENAI_LIMITS, model_required=False, source=f"local server; {OPENAI_LIMITS.source}"),
        scheme="http",
        path="/v1",
    ),
    fakes={"local": Fake(same_as="openai")},
    default_conn_id="local_batch",
)
