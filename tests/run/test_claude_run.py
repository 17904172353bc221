"""Whole runs on Claude, where the fake refuses what the model refuses on Bedrock: no record fails."""

import json

import pytest

from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.bedrock import FakeBedrock
from tests.run.benching import line
from tests.run.test_fan_out import EmbedBench

CLOSED = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
CLOSED["additionalProperties"] = False
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": CLOSED}}
TOOL = {"type": "function", "function": {"name": "look_up", "strict": True, "parameters": CLOSED}}
KINDS = (
    {"response_format": SCHEMA},
    {"tools": [TOOL]},
    {"reasoning_effort": "high"},
    {"temperature": 1, "top_p": 1},
    {"max_tokens": 1_000_000},
)


@pytest.mark.parametrize("model", ["us.anthropic.claude-opus-4-8", "us.anthropic.claude-opus-5-5"])
def test_no_record_is_refused(tmp_path, model):
    """B1, B2, B3: before, the job was Completed with every record failed."""
    with FakeBedrock(FaultPlan()) as fake:
        EmbedBench.max_rows = None
        bench = EmbedBench(tmp_path, fake)
        bench.write([line(number, model, **KINDS[number % len(KINDS)]) for number in range(100)])
        assert bench.finish().outcomes["succeeded"] == 100
        answers = bench.results()
        if model.endswith("4-8"):
            choice = answers["row-0"]["response"]["body"]["choices"][0]
            assert json.loads(choice["message"]["content"]) == {"text": "say 0"}
        bench.backend.close()
