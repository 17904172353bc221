"""Fake providers with faults, for the tests of this package and of your own DAGs.

::

    with FakeProvider(flavor="azure", faults=FaultPlan(cut_after_accept=1)) as fake:
        client = openai.OpenAI(base_url=fake.base_url, api_key=fake.api_key)
        ...
    assert len(fake.creates) == 1
"""

from __future__ import annotations

from airflow_batch_provider.testing.calls import Call
from airflow_batch_provider.testing.faults import FaultPlan
from airflow_batch_provider.testing.provider import FakeProvider

__all__ = ["Call", "FakeProvider", "FaultPlan"]
