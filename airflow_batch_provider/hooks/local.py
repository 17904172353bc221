"""The embedded batch server."""

from __future__ import annotations

from airflow_batch_provider.connections.local import CONNECTION
from airflow_batch_provider.hooks.plain import PlainHook


class LocalBatchHook(PlainHook):
    """Batches on ``airflow-batch serve``; host is the address it printed, password its token, if it has one."""

    row = CONNECTION
