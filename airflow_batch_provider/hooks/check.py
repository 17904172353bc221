"""What ``airflow-batch check CONN_ID`` does: Airflow's own connection test is off by default."""

from __future__ import annotations

from airflow_batch_provider.core.errors import BatchInferenceError
from airflow_batch_provider.hooks.base import BatchInferenceHook


def check(conn_id: str) -> tuple[bool, str]:
    """Whether a connection works, and what was seen.

    :param conn_id: of any of our types.
    """
    try:
        hook = BatchInferenceHook.for_conn_id(conn_id)
    except BatchInferenceError as error:
        return False, str(error)
    return hook.test_connection()
