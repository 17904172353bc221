"""Refusals of Vertex AI and Bedrock, end to end, in their own words."""

import pytest

from airflow_batch_provider.core.errors import ToleranceError
from airflow_batch_provider.core.reconciling import judge
from airflow_batch_provider.testing import Said, VertexFaults, fake_route
from tests.run.test_fault_table import Fault, TableBench

PROVISIONED = (
    "Service agents are being provisioned (https://cloud.google.com/vertex-ai/docs/general/access-control). Service "
    "agents are needed to read the Cloud Storage file provided. So please try again in a few minutes."
)


def table_bench(tmp_path, route, backend, plan):
    bench = TableBench(tmp_path / "bench", route, backend, "f", Fault(plan))
    bench.plan(Fault(plan))
    return bench


@pytest.mark.parametrize(
    "said",
    [
        Said(400, PROVISIONED, "FAILED_PRECONDITION"),  # generative-ai#1308
        Said(429, "RESOURCE_EXHAUSTED", bare=True),
        Said(503, "14 UNAVAILABLE: the service is not there", bare=True),
        Said(500, "13", bare=True),
        Said(504, "4: Deadline expired", bare=True),
    ],
)
def test_rows_of_vertex_ai_that_pass(tmp_path, said):
    """B12: before, final. The next round sends them again."""
    with fake_route("vertex_ai") as route:
        backend = route.backend()
        bench = table_bench(tmp_path, route, backend, {"fail_rows": {"*": said}, "jobs": 1})
        summary = bench.finish(bench.run(bench.key))
        assert (summary.outcomes["succeeded"], summary.rounds) == (bench.rows, 2)
        backend.close()


def test_malformed_calls_of_gemini(tmp_path):
    """B8: before, succeeded with an empty answer. Sent again in the next round; what they cost counts."""
    with fake_route("vertex_ai", VertexFaults(malformed_calls=3, jobs=1)) as route:
        backend = route.backend()
        bench = table_bench(tmp_path, route, backend, {})
        summary = bench.finish(bench.run(bench.key))
        assert (summary.outcomes["succeeded"], summary.rounds) == (bench.rows, 2)
        tokens = [one["input_tokens"] for one in summary.by_round]
        assert tokens[0] > tokens[1] > 0
        assert tokens[0] == pytest.approx(tokens[1] * bench.rows / 3, rel=0.2)
        backend.close()


@pytest.mark.parametrize(
    ("said", "rounds"),
    [
        (Said(403, "You don't have access to the model with the specified model ID.", "AccessDeniedException"), 1),
        (Said(429, "Too many requests, please wait before trying again.", "ThrottlingException"), 2),
        (Said(503, "Too many connections, please wait before trying again.", "ServiceUnavailableException"), 2),
        (
            Said(408, "Model has timed out in processing the request.", "ModelTimeoutException"),
            2,
        ),
    ],
)
def test_records_of_bedrock(tmp_path, said, rounds):
    """A4, B12: the account's are for the next try, the passing ones for the next round."""
    with fake_route("bedrock") as route:
        backend = route.backend()
        bench = table_bench(tmp_path, route, backend, {"fail_rows": {"*": said}, "jobs": 1})
        summary = bench.finish(bench.run(bench.key))
        assert summary.rounds == rounds
        if rounds == 1:
            with pytest.raises(ToleranceError):
                judge(summary, 0.0)
            summary = bench.finish(bench.run(bench.key), first_try=False)
        assert (summary.outcomes["succeeded"], len(route.fake.batches)) == (bench.rows, 2)
        backend.close()
