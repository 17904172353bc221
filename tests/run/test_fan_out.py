"""Whole runs of embeddings whose rows are several records: joined again, asked again whole, limits in records."""

from __future__ import annotations

import copy
import json

import pytest

from airflow_batch_provider.backends.bedrock.backend import BedrockBackend, BedrockPlace
from airflow_batch_provider.core.errors import InputError
from airflow_batch_provider.core.records import ModelRules, RunOptions
from airflow_batch_provider.run.budget import Budget
from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.bedrock import FakeBedrock
from airflow_batch_provider.testing.routes import fake_route
from tests.facts import BEDROCK
from tests.run.benching import Bench

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-multilingual-v3"


class EmbedBench(Bench):
    max_rows: int | None = None

    def make_backend(self, fake):
        def session():
            import boto3

            key, secret = fake.credentials
            return boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=fake.region)

        place = {"region": fake.region, "bucket": fake.bucket, "role_arn": fake.role_arn, "prefix": "runs"}
        return BedrockBackend(
            BedrockPlace(**place, max_rows=self.max_rows),
            session,
            BEDROCK,
            bedrock_url=fake.bedrock_url,
            s3_url=fake.s3_url,
            models=ModelRules(default=TITAN),
        )


class RouteBench(Bench):
    def make_backend(self, fake):
        """Given by the route."""


@pytest.fixture
def bench(tmp_path, request):
    marker = request.node.get_closest_marker("fake")
    options = dict(marker.kwargs) if marker else {}
    max_rows = options.pop("max_rows", None)
    with FakeBedrock(copy.deepcopy(options.pop("faults", FaultPlan())), **options) as fake:
        EmbedBench.max_rows = max_rows
        made = EmbedBench(tmp_path, fake)
        yield made
        made.backend.close()


def row(number, texts, model=TITAN, **body):
    body = {"model": model, "input": texts, **body}
    return {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/embeddings", "body": body}


def texts_of(number):
    return [f"text {number} {part}" + " word" * part for part in range(1 + number % 4)]


def check(bench, lines):
    """Every row has one vector a text, each of its own, in order, and the tokens of all."""
    alone = {}
    for line in bench.results().values():
        body = line["response"]["body"]
        assert [item["index"] for item in body["data"]] == list(range(len(body["data"])))
        alone[line["custom_id"]] = body
    for line in lines:
        texts = line["body"]["input"]
        texts = [texts] if isinstance(texts, str) else texts
        body = alone[line["custom_id"]]
        assert len(body["data"]) == len(texts)
        assert len({json.dumps(item["embedding"]) for item in body["data"]}) == len(set(texts))
    return alone


def records(bench):
    """The recordIds of every job's input, job by job."""
    keys = [key for key in bench.fake.objects() if key.endswith(".jsonl")]
    found = []
    for key in keys:
        data = bench.fake.s3.get_object(Bucket=bench.fake.bucket, Key=key)["Body"].read()
        found.append([json.loads(line)["recordId"] for line in data.split(b"\n")[:-1]])
    return found


def test_lists_fan_out_and_are_joined(bench):
    """60 rows are 150 records, more than the minimum; each row comes once, with tokens summed."""
    lines = [row(number, texts_of(number)) for number in range(60)]
    bench.write(lines)
    summary = bench.finish()
    assert (summary.total, summary.outcomes["succeeded"]) == (60, 60)
    [job] = records(bench)
    assert job == [f"r{number:010d}" for number in range(150)]
    answers = check(bench, lines)
    assert answers["row-3"]["usage"]["prompt_tokens"] == sum(len(text.split()) for text in texts_of(3))
    assert summary.usage.input_tokens == sum(len(text.split()) for one in lines for text in one["body"]["input"])


@pytest.mark.fake(max_rows=130)
def test_limits_count_records(bench):
    """No job has more records than allowed nor fewer, and no row is torn apart between two of them."""
    lines = [row(number, texts_of(number)) for number in range(100)]
    bench.write(lines)
    assert bench.finish().outcomes["succeeded"] == 100
    sizes = sorted(len(job) for job in records(bench))
    assert sum(sizes) == 250
    assert 100 <= sizes[0] <= sizes[-1] <= 130
    check(bench, lines)


@pytest.mark.fake(max_rows=100)
def test_a_row_of_more_texts_than_a_job_takes(bench):
    """A row that no job can hold is refused before anything is uploaded, by line and field."""
    bench.write([row(0, ["x"] * 101), *(row(number, "x") for number in range(1, 101))])
    with pytest.raises(InputError) as caught:
        bench.finish()
    assert [(problem.line, problem.field) for problem in caught.value.problems] == [(1, "body.input")]
    assert bench.fake.creates == []


@pytest.mark.fake(faults=FaultPlan(fail_rows={"r0000000007": 400}))
def test_a_failed_part_fails_its_row(bench):
    """One record's error is the row's; the others are answered, and what failed can be run as it is."""
    lines = [row(number, ["a", "b"]) for number in range(60)]
    bench.write(lines)
    summary = bench.finish(error_tolerance=1.0)
    assert (summary.outcomes["succeeded"], summary.outcomes["failed"]) == (59, 1)
    [failed] = bench.failed()
    assert (failed["custom_id"], failed["body"], failed["error"]["status_code"]) == ("row-3", lines[3]["body"], 400)


@pytest.mark.fake(faults=FaultPlan(fail_rows={f"r{number:010d}": 400 for number in range(0, 120, 2)}))
def test_parts_that_were_answered_are_paid(bench):
    """X9: one part of each row fails, so no row succeeds; the tokens of the other parts are counted, and so is their
    cost, in the job, the summary and the budget."""
    bench.backend.models = ModelRules(default=TITAN, prices={TITAN: {"input": 1000.0, "output": 0.0}})
    bench.write([row(number, ["a", "b c"]) for number in range(60)])
    summary = bench.finish(error_tolerance=1.0)
    assert summary.outcomes["failed"] == 60
    assert summary.usage.input_tokens == 60 * 2
    assert summary.cost_usd == pytest.approx(60 * 2 * 1000 / 1e6)
    run = bench.run()
    assert Budget(bench.backend, RunOptions(max_cost_usd=1.0)).spent(run.ledger.rounds()) == pytest.approx(0.12)


@pytest.mark.fake(faults=FaultPlan(expired_fraction=0.5, jobs=1))
def test_what_was_cut_off_is_asked_again_whole(bench):
    """A row of which some records expired is asked again with all its texts, in a job large enough for the provider."""
    lines = [row(number, ["a", "b", "c", "d"]) for number in range(80)]
    bench.write(lines)
    summary = bench.finish(rounds=3)
    assert (summary.outcomes["succeeded"], summary.rounds) == (80, 2)
    assert sorted(len(job) for job in records(bench)) == [160, 320]
    check(bench, lines)


@pytest.mark.fake(faults=FaultPlan(expire_after_rows=1))
def test_what_is_left_is_counted_in_records(bench):
    """60 open rows of two records are enough for another job, so a new try may help."""
    bench.write([row(number, ["a", "b"]) for number in range(60)])
    summary = bench.finish(rounds=1, error_tolerance=1.0)
    assert {one["error"]["code"] for one in bench.failed()} == {"batch_expired"}
    assert summary.retryable == 60


def test_cohere_takes_many_texts_a_record(bench):
    """Cohere's records hold up to 96 texts: 100 rows of 100 texts are 200 records."""
    lines = [
        row(number, [f"t{number}-{part}" for part in range(100)], COHERE, input_type="search_query")
        for number in range(100)
    ]
    bench.write(lines)
    assert bench.finish().outcomes["succeeded"] == 100
    [job] = records(bench)
    assert len(job) == 200
    check(bench, lines)


@pytest.mark.parametrize(
    ("route", "model"),
    [
        ("vertex_ai", "gemini-embedding-001"),
        ("vertex_ai", "text-embedding-005"),
        ("portkey_vertex", "gemini-embedding-001"),
    ],
)
def test_vertex(tmp_path, route, model):
    """Gemini's embeddings and those before it, also behind a gateway: shuffled answers find row and text."""
    with fake_route(route, FaultPlan()) as found:
        bench = RouteBench(tmp_path, found.fake)
        bench.backend = found.backend()
        lines = [row(number, texts_of(number), model) for number in range(12)]
        lines.append(row(12, texts_of(3), model))
        bench.write(lines)
        assert bench.finish().outcomes["succeeded"] == 13
        answers = check(bench, lines)
        assert answers["row-12"]["data"] == answers["row-3"]["data"]
        bench.backend.close()
