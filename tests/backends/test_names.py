"""B6: every name that is made of what people write is one that its provider takes.

Rules: botocore, CreateModelInvocationJob (jobName), S3Uri; Google, "Cloud Storage object names" (no ``.`` and ``..``,
1,024 bytes); OpenAI, structured outputs (name of a schema); Anthropic's OpenAPI (title of a document).
"""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_batch_provider.backends.bedrock.checks import S3_URI, job_name, safe_key
from airflow_batch_provider.backends.gateways.clouds import CloudBackend
from airflow_batch_provider.backends.vertex.place import _folder, object_name
from airflow_batch_provider.core.identity import make_token, safe_name
from airflow_batch_provider.core.preparing import RequestTemplate
from airflow_batch_provider.core.rows import Row
from airflow_batch_provider.dialects.anthropic import Anthropic
from airflow_batch_provider.dialects.families import vertex_family
from airflow_batch_provider.dialects.options import Schema, read_format
from airflow_batch_provider.dialects.parts import Blob

PEOPLES = st.text(max_size=300) | st.text("aZ9 ,#./\\_-()äß日😀\t\n%+=&:'\"", max_size=300)
JOB_NAME = re.compile(r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\+\-\.]){0,63}")
PLAIN = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
SCHEMA_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
HEX = "0123456789abcdef"
TOKENS = st.builds(
    lambda own, content: make_token(f"b{own}", f"c{content}"),
    st.text(HEX, min_size=19, max_size=19),
    st.text(HEX, min_size=15, max_size=15),
)


@given(PEOPLES, TOKENS)
@example("", "b" + "0" * 23)
@example("Übersicht 2024 😀", "b" + "0" * 23)
@settings(deadline=None)
def test_names_of_jobs_and_files(text: str, token: str) -> None:
    """B6: jobs and uploads get plain names with their token, never too long and never empty."""
    assert JOB_NAME.fullmatch(job_name(text, token))
    assert len(job_name(text, token)) <= 63
    assert PLAIN.fullmatch(safe_name(text, 60))
    assert len(safe_name(text, 60)) <= 60
    assert PLAIN.fullmatch(object_name(text, token))
    assert object_name(text, token).endswith(token)
    assert PLAIN.fullmatch(CloudBackend._own_name(text, token))
    assert len(CloudBackend._own_name(text, token)) <= 63


@given(PEOPLES)
@example("../.././a//b")
@example("")
@settings(deadline=None)
def test_keys_and_folders(text: str) -> None:
    """B6: prefixes become keys of S3 and of Cloud Storage without parts that climb or are empty."""
    key = safe_key(text)
    assert not key or S3_URI.fullmatch(f"s3://bucket/{key}")
    folder = _folder(text)
    assert not folder or re.fullmatch(r"(?:[-_.a-zA-Z0-9]+/)+", folder)
    assert not {"", ".", ".."} & set(folder.split("/")[:-1])
    assert not {".", ".."} & set(key.split("/"))


@given(PEOPLES)
@example("")
@settings(deadline=None)
def test_names_of_schemas_and_titles(text: str) -> None:
    """B6: a schema's name is one that OpenAI and Bedrock take, a document's title one that Claude takes."""
    wanted = read_format({"type": "json_schema", "json_schema": {"name": text, "schema": {}}})
    assert isinstance(wanted, Schema)
    assert SCHEMA_NAME.fullmatch(wanted.name)
    template = RequestTemplate.compile(prompt="Hi", json_schema={"title": text}, strict=False)
    assert SCHEMA_NAME.fullmatch(template.render(1, Row({}))["body"]["response_format"]["json_schema"]["name"])
    claude = Anthropic(vertex_family("claude-haiku-4-5"), "m")
    title = claude.document(Blob("application/pdf", "aGk=", text), "").get("title")
    assert title is None or 1 <= len(title) <= 500
