"""Whole runs on Nova with tools, which Bedrock takes in batches in Nova's own body only."""

from airflow_batch_provider.testing import FaultPlan
from airflow_batch_provider.testing.bedrock import FakeBedrock
from tests.run.benching import line
from tests.run.test_fan_out import EmbedBench

NOVA = "us.amazon.nova-pro-v1:0"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "title": "t"}}}


def test_tools(tmp_path):
    """Every row must call the tool, and its call comes back as OpenAI writes it."""
    with FakeBedrock(FaultPlan()) as fake:
        EmbedBench.max_rows = None
        bench = EmbedBench(tmp_path, fake)
        bench.write([line(number, NOVA, tools=[TOOL], tool_choice="required", max_tokens=9) for number in range(100)])
        assert bench.finish().outcomes["succeeded"] == 100
        results = bench.results()
        for number in range(100):
            choice = results[f"row-{number}"]["response"]["body"]["choices"][0]
            [call] = choice["message"]["tool_calls"]
            assert (choice["finish_reason"], call["function"]["name"]) == ("tool_calls", "look_up")
            assert f"say {number}" in call["function"]["arguments"]
        bench.backend.close()
