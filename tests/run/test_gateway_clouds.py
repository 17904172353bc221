"""Whole runs on Bedrock and Vertex AI behind gateways."""

from __future__ import annotations

import pytest

from airflow_batch_provider.backends.gateways.cloud_place import CloudPlace
from airflow_batch_provider.core.errors import InputError, LostCreateError
from airflow_batch_provider.testing import FakeProvider
from tests.facts import portkey_backend, truefoundry_backend
from tests.run.benching import Bench, line

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
GEMINI = "gemini-2.5-flash"
ROLE = "arn:aws:iam::123456789012:role/batch"
ODD = ["000123", "1.0", "a b:c/d", "ünï\U0001f600", "x" * 200, "r0000000001", "None", '"', "a\u2028b", "{}"]


def bedrock(fake):
    place = CloudPlace(region="us-east-1", bucket="b", role_arn=ROLE)
    return portkey_backend(fake.base_url, fake.api_key, virtual_key="v", behind="bedrock", places={"bedrock": place})


def vertex(fake):
    place = CloudPlace(region="us-central1", bucket="b")
    return portkey_backend(
        fake.base_url, fake.api_key, virtual_key="v", behind="vertex_ai", places={"vertex_ai": place}
    )


def truefoundry(fake):
    place = CloudPlace(region="us-central1", bucket="b")
    return truefoundry_backend(fake.base_url, fake.api_key, "vertex-main", behind="vertex_ai", place=place)


WAYS = {
    "portkey-bedrock": ("portkey", "bedrock", bedrock, CLAUDE),
    "portkey-vertex": ("portkey", "vertex-ai", vertex, GEMINI),
    "truefoundry-vertex": ("truefoundry", "vertex-ai", truefoundry, GEMINI),
}


@pytest.fixture(params=sorted(WAYS))
def way(request, tmp_path):
    """A bench on each way, and the model to ask."""
    flavor, behind, make, model = WAYS[request.param]
    with FakeProvider(flavor, behind=behind) as fake:
        yield on(fake, make, tmp_path), model


def on(fake, make, folder):
    bench = Bench(folder, fake)
    bench.backend = make(fake)
    return bench


@pytest.fixture
def bedrock_bench(tmp_path):
    with FakeProvider("portkey", behind="bedrock") as fake:
        yield on(fake, bedrock, tmp_path)


def rows(count, model, **body):
    lines = [line(number, model, max_tokens=50, **body) for number in range(count)]
    for one in lines:
        one["body"]["messages"][0]["content"] += " Müller 東京 \U0001f600"
    return lines


def test_equal_to_openais(way, tmp_path):
    """150 rows, some with odd ids: id, status, text, finish and usage are those of the OpenAI route."""
    bench, model = way
    lines = rows(150, model)
    for one, odd in zip(lines, ODD, strict=False):
        one["custom_id"] = odd
    bench.write(lines)
    assert bench.finish().outcomes["succeeded"] == 150
    (tmp_path / "plain").mkdir()
    with FakeProvider() as fake:
        plain = Bench(tmp_path / "plain", fake)
        plain.write(lines)
        plain.finish()

    def told(found):
        return {
            name: (
                one["response"]["status_code"],
                one["response"]["body"]["choices"][0]["message"]["content"],
                one["response"]["body"]["choices"][0]["finish_reason"],
                {key: one["response"]["body"]["usage"][key] for key in ("prompt_tokens", "completion_tokens")},
            )
            for name, one in found.items()
        }

    assert told(bench.results()) == told(plain.results())
    assert set(ODD) < set(bench.results())


def test_failed_rows(way):
    """A refused row ends as failed with the provider's reason, also where its id was lost; no other row is touched."""
    bench, model = way
    bench.fake.faults.fail_rows = {"r0000000007": 400}
    bench.write(rows(120, model))
    summary = bench.finish()
    assert (summary.outcomes["succeeded"], summary.outcomes["failed"]) == (119, 1)
    (failed,) = bench.failed()
    assert failed["custom_id"] == "row-7"
    assert "The fake was told to fail this row with 400." in failed["error"]["message"]


def test_above_the_upload_limit(bedrock_bench):
    """What Portkey cannot upload at once goes up in shards that it can, each above Bedrock's minimum."""
    lines = rows(350, CLAUDE)
    for one in lines:
        one["body"]["messages"][0]["content"] += " x" * 3_000
    bedrock_bench.write(lines)
    summary = bedrock_bench.finish()
    assert summary.outcomes["succeeded"] == 350
    assert len(summary.jobs) == 3
    assert min(job["rows"] for job in summary.jobs) >= 100


def test_no_plan_holds_both_limits(bedrock_bench):
    """Where 100 rows are more than Portkey uploads, the file is refused with both figures and their sources."""
    lines = rows(150, CLAUDE)
    for one in lines:
        one["body"]["messages"][0]["content"] += " x" * 8_000
    bedrock_bench.write(lines)
    with pytest.raises(InputError, match=r"minimum of 100 rows and its maximum of 900,000 bytes") as refused:
        bedrock_bench.finish()
    assert "Portkey uploads" in str(refused.value)
    assert bedrock_bench.fake.requests == []


def test_ninety_nine_rows(bedrock_bench):
    """Bedrock's minimum is told before anything is uploaded."""
    bedrock_bench.write(rows(99, CLAUDE))
    with pytest.raises(InputError, match="at least 100"):
        bedrock_bench.finish()
    assert bedrock_bench.fake.requests == []


def test_what_cannot_be_said_is_named_by_line(bedrock_bench):
    """Every row that the gateway would answer otherwise than asked, with field and remedy, and nothing is sent."""
    lines = rows(100, CLAUDE)
    lines[3]["body"]["response_format"] = {"type": "json_object"}
    lines[5]["body"]["messages"][0]["content"] = [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    lines[8]["body"]["n"] = 2
    bedrock_bench.write(lines)
    with pytest.raises(InputError) as refused:
        bedrock_bench.finish()
    told = str(refused.value)
    assert "body.response_format" in told
    assert "use a bedrock_batch connection" in told
    assert "image_url" in told
    assert "body.n" in told
    assert bedrock_bench.fake.requests == []


def test_lost_answer_is_found_by_its_upload(way):
    """The answer to a create is lost: the job is found on the list, there is one."""
    bench, model = way
    bench.fake.faults.accepted_status = [500]
    bench.write(rows(110, model))
    assert bench.finish().outcomes["succeeded"] == 110
    assert len(bench.fake.batches) == 1


@pytest.mark.parametrize("lists", [True, False])
def test_absence_is_never_believed(tmp_path, lists):
    """A create that was cut off, and no job on the list, or no list: nobody can tell, so nothing is made again."""
    with FakeProvider("portkey", behind="vertex-ai", lists=lists) as fake:
        bench = on(fake, vertex, tmp_path)
        fake.faults.cut_before_accept = 1
        bench.write(rows(3, GEMINI))
        with pytest.raises(LostCreateError, match="cannot prove"):
            bench.finish()
        assert len(fake.creates) == 1


def test_dropped_fields_are_told(way, caplog):
    """What changes no meaning is left out, and said once."""
    bench, model = way
    bench.write(rows(100, model, user="somebody"))
    bench.finish()
    assert [record.getMessage().count("body.user: left out") for record in caplog.records].count(1) == 1
