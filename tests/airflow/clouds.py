"""Fakes of the clouds behind Airflow connections, directly and behind gateways."""

from __future__ import annotations

import contextlib

from airflow_batch_provider.testing import FaultPlan, fake_route
from airflow_batch_provider.testing.routes import bedrock_connection, vertex_connection

__all__ = ["bedrock_connection", "cloud", "vertex_connection"]


@contextlib.contextmanager
def cloud(name: str, faults: FaultPlan | None = None, **rules):
    """A fake cloud and the Airflow connection to it.

    :param name: ``bedrock``, ``vertex_ai``, or one of them behind a gateway, such as ``portkey_bedrock``.
    """
    with fake_route(name, faults, **rules) as route:
        yield route.fake, route.connection
