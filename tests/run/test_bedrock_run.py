"""Whole runs on Bedrock: a lost create is repeated and makes one job."""

import copy
import json

import pytest

from airflow_batch_provider.backends.bedrock.backend import BedrockBackend, BedrockPlace
from airflow_batch_provider.core.records import ModelRules
from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.bedrock import FakeBedrock
from tests.facts import BEDROCK
from tests.run.benching import Bench, line

LLAMA = "meta.llama3-1-8b-instruct-v1:0"


class BedrockBench(Bench):
    def make_backend(self, fake):
        def session():
            import boto3

            key, secret = fake.credentials
            return boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=fake.region)

        return BedrockBackend(
            BedrockPlace(region=fake.region, bucket=fake.bucket, role_arn=fake.role_arn, prefix="runs"),
            session,
            BEDROCK,
            bedrock_url=fake.bedrock_url,
            s3_url=fake.s3_url,
            models=ModelRules(default=LLAMA, prices={LLAMA: {"input": 1.0, "output": 2.0}}),
        )


@pytest.fixture
def bench(tmp_path, request):
    marker = request.node.get_closest_marker("fake")
    options = dict(marker.kwargs) if marker else {}
    with FakeBedrock(copy.deepcopy(options.pop("faults", FaultPlan())), **options) as fake:
        made = BedrockBench(tmp_path, fake)
        yield made
        made.backend.close()


def rows(count):
    return [line(number, LLAMA) for number in range(count)]


@pytest.mark.fake(faults=FaultPlan(fail_rows={"7": 400}))
def test_every_row_ends_once(bench):
    """Odd ids, one failed record, the cost of the rest."""
    lines = [{**one, "custom_id": f"row {number}:\u00e9"} for number, one in enumerate(rows(130))]
    bench.write(lines)
    summary = bench.finish()
    assert set(bench.results()) == {one["custom_id"] for one in lines}
    assert (summary.outcomes["succeeded"], summary.outcomes["failed"]) == (129, 1)
    assert [row["custom_id"] for row in bench.failed()] == ["row 7:\u00e9"]
    usage = summary.usage
    assert summary.cost_usd == pytest.approx((usage.input_tokens + 2 * usage.output_tokens) / 1e6)


@pytest.mark.parametrize(
    "faults",
    [
        FaultPlan(cut_before_accept=1),
        FaultPlan(cut_after_accept=1),
        FaultPlan(accepted_status=[500]),
        FaultPlan(late_accept=[0.3]),
        FaultPlan(cut_before_accept=2, cut_after_accept=1),
    ],
    ids=["cut before", "cut after", "500 after", "late", "again and again"],
)
def test_a_lost_create_makes_one_job(bench, faults):
    """The recorded create is sent again, byte for byte; Bedrock knows its token and makes no second job."""
    for name in ("cut_before_accept", "cut_after_accept", "accepted_status", "late_accept"):
        setattr(bench.fake.faults, name, copy.deepcopy(getattr(faults, name)))
    bench.write(rows(100))
    summary = bench.finish()
    assert summary.outcomes["succeeded"] == 100
    assert len(bench.fake.batches) == 1
    assert len({json.dumps(call.body, sort_keys=True) for call in bench.fake.creates}) == 1


def test_a_longer_window_moves_the_deadline(bench):
    """timeout_hours of the run is the time that Bedrock has, so it is the time that we wait."""
    bench.write(rows(100))
    run = bench.run(backend_options={"timeout_hours": 100})
    run.begin(first_try=True)
    assert run.ledger.tries().deadline == pytest.approx(bench.clock() + 102 * 3600, abs=60)
