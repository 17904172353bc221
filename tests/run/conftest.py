"""The bench of every test of a run."""

import copy

import pytest

from airflow_batch_provider.testing import FakeProvider, FaultPlan
from tests.run.benching import Bench


@pytest.fixture
def bench(tmp_path, request):
    marker = request.node.get_closest_marker("fake")
    options = dict(marker.kwargs) if marker else {}
    with FakeProvider(flavor="openai", faults=copy.deepcopy(options.pop("faults", FaultPlan())), **options) as fake:
        made = Bench(tmp_path, fake)
        yield made
        made.backend.close()
