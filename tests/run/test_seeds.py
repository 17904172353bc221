# ruff: noqa: E501 - lines as their authors wrote them
"""The users' own sample files run as they stand."""

import json

import pytest

from airflow_batch_provider.core.errors import InputError

TRUEFOUNDRY = """\
{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-3.5-turbo-0125", \
"messages": [{"role": "system", "content": "You are a helpful assistant."},{"role": "user", "content": "Hello world!"}],\
"max_tokens": 1000}}
{"custom_id": "request-2", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-3.5-turbo-0125", \
"messages": [{"role": "system", "content": "You are an unhelpful assistant."},\
{"role": "user", "content": "Hello world!"}],"max_tokens": 1000}}
{"custom_id": "request-3", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4-vision-preview", \
"messages": [{"role": "user", "content": [{"type": "text", "text": "What's in this image?"}, {"type": "image_url", \
"image_url": {"url": "https://example.com/image.jpg"}}]}], "max_tokens": 1000}}
"""
NYU = """\
{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gemini-3-flash-preview", \
"messages": [{"role": "user", "content": "Where is NYU located?"}], "max_tokens": 2048}}
{"custom_id": "request-2", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gemini-3-flash-preview", \
"messages": [{"role": "user", "content": "What resources are available for genAI research at nyu?"}], "max_tokens": 8196}}
"""


def test_truefoundrys_sample_has_two_models(bench):
    """One file, two models: two shards, three answers; the provider itself would refuse the file."""
    bench.input.write_text(TRUEFOUNDRY)
    summary = bench.finish()
    assert summary.outcomes["succeeded"] == 3
    assert [(job["model"], job["rows"]) for job in summary.jobs] == [
        ("gpt-3.5-turbo-0125", 2),
        ("gpt-4-vision-preview", 1),
    ]
    assert set(bench.results()) == {"request-1", "request-2", "request-3"}


def test_nyus_sample(bench):
    """The sample of the Portkey guide."""
    bench.input.write_text(NYU)
    assert bench.finish().outcomes["succeeded"] == 2


def test_lines_without_method_url_and_model(bench):
    """What the guides say can be skipped can be, where the operator or the connection supplies it."""
    lines = [json.loads(raw) for raw in NYU.splitlines()]
    for line in lines:
        del line["method"], line["url"], line["body"]["model"]
    bench.write(lines)
    with pytest.raises(InputError, match=r"line 1, url: missing(.|\n)*line 1, body\.model: missing"):
        bench.finish()
    assert bench.finish(model="gpt-4o-mini", endpoint="/v1/chat/completions").outcomes["succeeded"] == 2


@pytest.mark.parametrize(
    ("extra", "said"), [("\n", "the line is blank"), ("# the second model\n", "JSON Lines allow no comments")]
)
def test_comment_and_blank_line_are_named(bench, extra, said):
    """The guides forbid both; the line is named by number."""
    first, *rest = TRUEFOUNDRY.splitlines(keepends=True)
    bench.input.write_text(first + extra + "".join(rest))
    with pytest.raises(InputError, match=f"line 2: {said}"):
        bench.finish()
    assert bench.fake.requests == []
